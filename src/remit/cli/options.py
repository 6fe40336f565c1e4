"""Options that many commands share."""

import getpass
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from remit.grants.model import Actor as Author
    from remit.grants.service import Authorship

_WHERE = Group("Where", sort_key=8)
_WHO = Group("Who and why", sort_key=7)

Json = Annotated[bool, Parameter(name="--json", help="Print JSON with stable keys instead of text.")]


@Parameter(name="*", group=_WHERE)
@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where the settings and the database are."""

    config: Annotated[
        Path | None, Parameter(help="Settings file; else $REMIT_CONFIG, else remit.toml if there is one.")
    ] = None
    data_dir: Annotated[
        Path | None, Parameter(help="Folder of the embedded database and the issuer key; else as set, else .remit.")
    ] = None


Actor = Annotated[
    str | None,
    Parameter(
        group=_WHO,
        env_var="REMIT_ACTOR",
        show_env_var=False,
        help="Who is recorded; else $REMIT_ACTOR, else $USER@localhost.",
    ),
]


@Parameter(name="*", group=_WHO)
@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who writes, why, and the key that makes a repeated write harmless."""

    actor: Actor = None
    reason: Annotated[
        str | None, Parameter(help="Why; recorded with the change. A text naming the command if left out.")
    ] = None
    idempotency_key: Annotated[
        str | None, Parameter(help="The same key with the same request is done once; random if left out.")
    ] = None

    def authorship(self, default_reason: str) -> "Authorship":
        """The author of a write made here. Whoever can open the database is an admin: no check would hold them."""
        from remit.grants.service import Authorship

        return Authorship(
            actor=self.who(),
            reason=self.reason if self.reason is not None else default_reason,
            idempotency_key=self.idempotency_key if self.idempotency_key is not None else secrets.token_hex(16),
        )

    def who(self) -> "Author":
        from remit.grants.model import Actor as Author

        return Author(self.actor or f"{_user()}@localhost", is_admin=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
