"""What a caller asks for: a new grant, or some fields of an existing one. `UNSET` leaves a field as it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

from remit.grants.model import (
    Delegation,
    Grant,
    GrantStatus,
    Limit,
    OnExhausted,
    Overdraft,
    Problem,
    Rate,
    Renewal,
    Scope,
    Shape,
    parent_path_of,
)
from remit.grants.serialise import to_plain
from remit.kernel.decisions import GrantClass


class Unset(Enum):
    """The type of `UNSET`, so that `None` keeps its own meaning in an edit."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    """A grant to be created; its parent is the grant one level up its path.

    `None` takes the parent's value: its class, time zone and expiry (a root must state class and expiry, its time
    zone is UTC by default). A start of `None` is the instant of the write, or the parent's start if that is later.
    """

    path: str
    owner: str
    grant_class: GrantClass | None = None
    time_zone: str | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    scope: Scope = Scope()
    limits: tuple[Limit, ...] = ()
    rate: Rate = Rate()
    shape: Shape = Shape()
    data_classes: tuple[str, ...] | None = None
    required_tags: tuple[str, ...] = ()
    delegation: Delegation = Delegation()
    on_exhausted: OnExhausted = OnExhausted()
    overdraft: Overdraft | None = None
    renewal: Renewal = Renewal()
    status: GrantStatus = "active"

    def body(self) -> dict[str, Any]:
        """JSON-able form, part of what an idempotency key remembers."""
        return {("class" if name == "grant_class" else name): to_plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantEdit:
    """New values for some fields of a grant. Status has writes of its own (activate, suspend, resume, revoke, renew)."""

    owner: str | Unset = UNSET
    grant_class: GrantClass | Unset = UNSET
    time_zone: str | Unset = UNSET
    starts_at: datetime | Unset = UNSET
    expires_at: datetime | Unset = UNSET
    scope: Scope | Unset = UNSET
    limits: tuple[Limit, ...] | Unset = UNSET
    rate: Rate | Unset = UNSET
    shape: Shape | Unset = UNSET
    data_classes: tuple[str, ...] | Unset | None = UNSET
    required_tags: tuple[str, ...] | Unset = UNSET
    delegation: Delegation | Unset = UNSET
    on_exhausted: OnExhausted | Unset = UNSET
    overdraft: Overdraft | Unset | None = UNSET
    renewal: Renewal | Unset = UNSET

    def stated(self) -> dict[str, Any]:
        """Model field name to new value, for the fields that are set."""
        pairs = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {name: value for name, value in pairs if value is not UNSET}

    def body(self) -> dict[str, Any]:
        """JSON-able form of what is set."""
        return {
            ("class" if name == "grant_class" else name): to_plain(_plain_fields(value))
            for name, value in self.stated().items()
        }


def _plain_fields(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain_fields(item) for item in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def resolve_new(new: NewGrant, parent: Grant | None, grant_id: str, now: datetime) -> Grant | Problem:
    """The grant that a request to create means, with its parent's values filled in where it states none."""
    parent_path = parent_path_of(new.path)
    if parent_path is not None and parent is None:
        detail = f"`{new.path}` has no parent: there is no grant `{parent_path}`"
        return Problem(code="parent_unknown", path=new.path, field="path", detail=detail)
    assert (parent.path if parent else None) == parent_path
    grant_class = new.grant_class or (parent.grant_class if parent else None)
    expires_at = new.expires_at or (parent.expires_at if parent else None)
    if grant_class is None or expires_at is None:
        return root_problem(new.path, {"class": grant_class, "expires_at": expires_at})
    own = {one.name: getattr(new, one.name) for one in fields(new)}
    resolved = {
        "id": grant_id,
        "parent_id": parent.id if parent else None,
        "grant_class": grant_class,
        "time_zone": new.time_zone or (parent.time_zone if parent else "UTC"),
        "starts_at": new.starts_at or (max(now, parent.starts_at) if parent else now),
        "expires_at": expires_at,
    }
    return Grant(**own | resolved)


def root_problem(path: str, needed: Mapping[str, object]) -> Problem:
    """What a root lacks of what it has to say itself, all of it in one sentence; `needed` has None for what is missing."""
    missing = [name for name, value in needed.items() if value is None]
    detail = f"the root `{path}` has no parent to take its {' and its '.join(missing)} from"
    return Problem(code="field_missing", path=path, field=missing[0], detail=detail)


def is_later(instant: datetime, than: datetime) -> bool:
    """Whether the instant is aware and after another; a naive one is left to the field rules."""
    return instant.utcoffset() is not None and instant > than


def apply_edit(grant: Grant, edit: GrantEdit, now: datetime) -> Grant:
    """The next revision of the grant, or the grant itself where the edit changes nothing.

    An expiry in the future makes an expired grant active again.
    """
    edited = replace(grant, **edit.stated())
    if edited.status == "expired" and "expires_at" in edit.stated() and is_later(edited.expires_at, now):
        edited = replace(edited, status="active")
    return edited if edited == grant else replace(edited, revision=grant.revision + 1)
