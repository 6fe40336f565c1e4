"""How a grant really stands: its own status, unless something above it ends or stops it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from remit.grants.model import Grant, GrantStatus
from remit.grants.tree import Tree

# What ends more comes first; of two grants in the same state the grant itself is named, then the highest.
_ORDER: Final[tuple[GrantStatus, ...]] = ("revoked", "expired", "suspended", "requested")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`status` is in effect because of the grant at `path`; `expires_at` is the earliest expiry on the way to the root."""

    status: GrantStatus
    path: str
    expires_at: datetime

    def text(self, path: str) -> str:
        """The status of the grant at that path; where another one is the reason, `revoked with acme/research`."""
        return self.status if self.path == path else f"{self.status} with {self.path}"


def standing_of(tree: Tree, grant: Grant, now: datetime) -> Standing:
    """The grant's standing at that instant; an expiry that has passed counts whether or not the status says so yet."""
    nodes = tree.path_to(grant)
    expires_at = min(node.expires_at for node in nodes)
    for status in _ORDER:
        for node in (grant, *nodes[:-1]):
            if _own_status(node, now) == status:
                return Standing(status=status, path=node.path, expires_at=expires_at)
    return Standing(status="active", path=grant.path, expires_at=expires_at)


def _own_status(node: Grant, now: datetime) -> GrantStatus:
    lapsed = node.status in ("active", "suspended") and now >= node.expires_at
    return "expired" if lapsed else node.status
