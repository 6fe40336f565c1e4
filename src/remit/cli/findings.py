"""`remit findings`: what about grants and keys deserves a look."""

from typing import Annotated

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import Json, Where


def findings(
    *,
    kind: Annotated[str | None, Parameter(help="Only findings of this code.")] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List limits nobody needs, owners who left, keys that grew old and the like; exit 1 if there are any.

    Looks and changes nothing. What each code means, and what to do, is in docs/howto/findings.md.
    """
    from remit.cli.output import print_json, print_table, remark, table
    from remit.cli.session import open_authority
    from remit.findings.model import FINDING_CODES

    if kind is not None and kind not in FINDING_CODES:
        raise CommandError(f"--kind `{kind}` is not one of {', '.join(FINDING_CODES)}")
    found = [one for one in open_authority(where).findings() if kind in (None, one.code)]
    if json:
        print_json({"findings": found})
    elif not found:
        print("no findings")
    else:
        shown = table("grant", "owner", "finding", "what")
        for one in found:
            shown.add_row(one.path, one.owner, one.code, one.detail)
        print_table(shown)
        remark(f"{len(found):,} finding{'' if len(found) == 1 else 's'}; --json has the evidence and proposed edits")
    return EXIT_DIFFERENCES if found else EXIT_OK
