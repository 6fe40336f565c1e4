"""`remit apply`: from a grants file to the tree, by way of a plan."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.grants.manifest import Manifest
    from remit.grants.plan import Plan

_MAX_FILE_BYTES = 16 * 1024 * 1024
_PLAN_STYLES = {"+ ": "green", "~ ": "yellow", "- ": "red", "! ": "bold red", "? ": "dim"}


def apply(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True, help="Grants file in YAML; `-` reads standard input.")],
    /,
    *,
    dry_run: Annotated[bool, Parameter(help="Show the plan and change nothing.")] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask. Needed where nobody can be asked.")] = False,
    prune: Annotated[bool, Parameter(help="Revoke the grants that stand below the file's, but not in it.")] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Make the tree what a grants file says, after showing the plan.

    The plan is carried out as a whole or not at all. On a terminal you are asked first; elsewhere --yes is needed.
    Exit code 1 if the rules forbid the plan or you decline it.
    """
    from remit.bootstrap import make_clock
    from remit.cli.output import code_of, print_json, refused
    from remit.cli.session import has_database, open_authority, settings_of
    from remit.grants.plan import make_plan
    from remit.grants.service import NotWritten
    from remit.grants.tree import Tree

    manifest = read_manifest(file)
    settings = settings_of(where)
    # Where there is no database yet, only a plan that is carried out makes one.
    authority = open_authority(where) if has_database(settings) else None
    grants = []
    if authority is not None:
        with authority.repository.read() as reads:
            grants = reads.load_tree()
    clock = authority.clock if authority is not None else make_clock(settings)
    plan = make_plan(manifest, Tree(grants), clock.now(), prune=prune)
    if not json:
        _print_plan(plan)
    if plan.problems or plan.is_empty or dry_run:
        if json:
            print_json(_plan_json(plan, applied=False))
        return code_of(plan.problems) if plan.problems else EXIT_OK
    if not yes and not _agreed(file):
        return EXIT_DIFFERENCES
    authority = authority or open_authority(where, create=True)
    answer = authority.grants.apply(plan, (by or By()).authorship(f"remit apply {file.name}"))
    if isinstance(answer, NotWritten):
        return refused(answer.problems, json=json)
    if json:
        print_json(_plan_json(plan, applied=True))
    else:
        print("applied" if not answer.replayed else "applied before, under the same idempotency key")
    return EXIT_OK


def read_manifest(file: Path) -> "Manifest":
    """The manifest of a YAML file. Raises CommandError with everything that is wrong, one line each."""
    from remit.cli.strict_yaml import NotYamlError, load_yaml
    from remit.grants.manifest import Manifest, parse_manifest

    name = "standard input" if str(file) == "-" else f"`{file}`"
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise CommandError(f"cannot read {name}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise CommandError(f"{name} is larger than {_MAX_FILE_BYTES:,} bytes")
    try:
        document = load_yaml(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise CommandError(f"{name} is not text in UTF-8") from None
    except NotYamlError as error:
        raise CommandError(f"{name} is not YAML: {error}") from None
    parsed = parse_manifest(document)
    if isinstance(parsed, Manifest):
        return parsed
    lines = [f"{name}: {problem.detail}" for problem in parsed]
    raise CommandError("\nremit: ".join(lines))


def _print_plan(plan: "Plan") -> None:
    from rich.text import Text

    from remit.cli.output import console
    from remit.grants.render import render_plan

    out = console()
    for line in render_plan(plan).splitlines():
        out.print(Text(line, style=_PLAN_STYLES.get(line[:2], "")))
    if plan.is_empty and not plan.problems:
        out.print("nothing to do")
    sys.stdout.flush()


def _agreed(file: Path) -> bool:
    from remit.cli.asking import can_ask, confirmed

    if str(file) == "-" or not can_ask():
        raise CommandError("nobody can be asked here: add --yes to apply the plan, or --dry-run to only look at it")
    return confirmed("apply this plan?")


def _plan_json(plan: "Plan", *, applied: bool) -> dict[str, Any]:
    return {
        "applied": applied,
        **plan.body(),
        "unchanged": list(plan.unchanged),
        "orphans": [one.path for one in plan.orphans],
        "problems": [asdict(problem) for problem in plan.problems],
    }
