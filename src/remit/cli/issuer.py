"""`remit issuer list` and `rotate`: the keys that sign capabilities."""

from typing import TYPE_CHECKING, Any

from cyclopts import App

from remit.cli.codes import EXIT_OK
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from remit.grants.model import Problem
    from remit.store.postgres_writes import WriteUnit

app_command = App(
    name="issuer",
    help="""The keys that sign capabilities.

One signs; older ones are good for verifying what they have signed. `remit revoke KID` ends one.
""",
    help_epilogue="",
    group_commands="Commands",
)


def list_issuers(*, json: Json = False, where: Where | None = None) -> int:
    """List issuer keys, oldest first, with how many living access keys rest on each."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority

    keys = open_authority(where).key_store.issuers()
    if json:
        print_json(keys)
        return EXIT_OK
    if not keys:
        print("no issuer key yet: `remit up`, or the first access key, makes one")
        return EXIT_OK
    rows = table("kid", "status", "made", "nothing before", "access keys", right=("access keys",))
    for one in keys:
        cut_off = "" if one["min_issued_at"] is None else moment_text(one["min_issued_at"])
        rows.add_row(one["kid"], one["status"], moment_text(one["created_at"]), cut_off, f"{one['living_keys']:,}")
    print_table(rows)
    return EXIT_OK


def rotate_issuer(*, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Sign with a new issuer key from now on; what the old one has signed stays good.

    Takes the place of the file `issuer.key` in the data folder. A running `remit up` signs with it without a restart.
    """
    from remit.cli.output import print_json, refused
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority = open_authority(where)

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        told = {"kid": authority.rotate_issuer_key(unit)}
        return told, told

    done = write_once(authority, by, "issuer rotate", {}, do)
    if isinstance(done, Problem):
        return refused([done], json=json)
    told = done.answer if isinstance(done, Remembered) else done
    if json:
        print_json({**told, "replayed": isinstance(done, Remembered)})
    else:
        print(f"issuer key `{told['kid']}` signs from now on; older ones verify what they have signed")
    return EXIT_OK


app_command.command(list_issuers, name="list", sort_key=0)
app_command.command(rotate_issuer, name="rotate", sort_key=1)
