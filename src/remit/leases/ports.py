"""The port through which holds are taken and ended."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from remit.leases.model import Ending, LineFailure, WantedHold


@dataclass(frozen=True, slots=True)
class Tightest:
    """The usd limit of the path with the least left, right after a hold was taken or ended. Amounts in nano-USD."""

    node_id: str
    limit: int
    remaining: int


@dataclass(frozen=True, slots=True)
class TakenHold:
    """The hold is on every node. `tightest` is None where no node of the path has a limit in money."""

    tightest: Tightest | None


@dataclass(frozen=True, slots=True)
class FullParent:
    """A block has as many living children as it may have. When `next_at` has come, the first of them will have expired."""

    block_id: str
    max_children: int
    living: int
    next_at: datetime


@dataclass(frozen=True, slots=True)
class ProofReplayed:
    """The proof of possession was used for a hold before."""


HoldRefused = tuple[LineFailure, ...] | FullParent | ProofReplayed
"""Why a hold was not taken: the lines that do not fit (at least one), or what keeps it from being looked at."""


@dataclass(frozen=True, slots=True)
class FinishedHold:
    """What ending a hold did: the outcome asked for, `corrected`, `already_settled` or `unknown_hold`."""

    outcome: str
    tightest: Tightest | None


class StaleTreeError(Exception):
    """The tree changed since the caller read it; read it again and decide again."""

    def __init__(self, current_revision: int) -> None:
        super().__init__(f"the tree is at revision {current_revision}")
        self.current_revision = current_revision


class AuthorityUnreachableError(Exception):
    """Holds cannot be taken or ended now; whether the last attempt took effect may be unknown."""


class Lessor(Protocol):
    """Takes and ends holds, exactly. Which mode answers is invisible to the caller."""

    async def take(self, hold: WantedHold, tree_revision: int) -> TakenHold | HoldRefused:
        """Takes the hold on all of its lines, or on none and answers why.

        With it the blocks of its chain become known and its proof is used up; without it neither. Raises StaleTreeError when the tree is no longer at that revision, AuthorityUnreachableError when nothing
        could be decided. Taking a hold id again answers as the first time.
        """
        ...

    async def finish(self, ending: Ending) -> FinishedHold:
        """Ends a hold and answers what happened. Ending it again changes nothing.

        Returns only when the ending is durable; retries by itself while the authority is away.
        """
        ...
