"""What the passing of time does to tickets and grants: reminders, escalation, grace, the end of a break-glass.

Each step finds nothing left to do when it is taken again, so it may be taken at any moment and by several authorities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from remit.grants.edits import GrantEdit
from remit.grants.leaving import ownerless
from remit.grants.model import Actor, Grant, same_person
from remit.grants.serialise import format_instant
from remit.grants.service import GrantService, NotWritten
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.renewals.automatic import AutomaticRenewals
from remit.renewals.effects import Acknowledge, RenewGrant, SettleDebt
from remit.renewals.model import Policy, Ticket
from remit.renewals.ports import Notice, People, Queue, RoundDue, Tickets
from remit.renewals.requests import renewal_key
from remit.renewals.service import Asked, TicketService
from remit.renewals.suggestion import suggested_changes, suggestion_text
from remit.renewals.windows import Window, renewal_window
from remit.renewals.writes import EffectWriter, ReadTree, system_author

GRACE_AHEAD = timedelta(minutes=10)
"""How long before its expiry a production grant is given its grace, so that no call falls between the two."""
OVERDUE_AT_ONCE = 50
"""So many tickets a round escalates: nobody else gets at the tree meanwhile. The next look finds the others."""
_LAPSED_SINCE = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Did:
    """What a round did, in numbers."""

    escalated: int = 0
    expired: int = 0
    reminded: int = 0
    graced: int = 0
    renewed: int = 0
    opened: int = 0
    ended: int = 0


class Rounds:
    """Over parts that are bound to one open transaction."""

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self,
        tickets: Tickets,
        queue: Queue,
        people: People,
        service: TicketService,
        grants: GrantService,
        writer: EffectWriter,
        read_tree: ReadTree,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._tickets = tickets
        self._queue = queue
        self._people = people
        self._service = service
        self._grants = grants
        self._writer = writer
        self._read_tree = read_tree
        self._policy = policy
        self._clock = clock
        self._automatic = AutomaticRenewals(tickets, people, grants, policy)
        self._found: RoundDue | None = None

    def remind(self) -> int:
        """Tells people what ends, or has ended; answers how many notifications were new. Writes nothing else."""
        now = self._clock.now()
        if not self._due(now).tells:
            return 0
        tree = self._read_tree()
        return self._remind(tree, now) + self._tell_lapsed(tree, now)

    def decide(self) -> Did:
        """Everything else, in a transaction that has the tree to itself."""
        now = self._clock.now()
        escalated, expired = self._overdue(now)
        ended = self._end_break_glasses(now)
        renewed = self._renew(now)
        graced = self._give_grace(now)
        return Did(
            escalated=escalated,
            expired=expired,
            ended=ended,
            renewed=renewed,
            graced=graced,
            opened=self._open_what_nobody_asked(now),
        )

    def waits(self) -> bool:
        """Whether `decide` has anything to do: asked often, and without keeping anybody from the tree."""
        now = self._clock.now()
        if self._queue.debts_without_ticket(now) or self._queue.trips_without_ticket():
            return True
        if not self._due(now).decides:
            return False
        tree = self._read_tree()
        return (
            any(_is_overdue(ticket, now) for ticket in self._tickets.all_open())
            or bool(self._queue.break_glasses_due(now))
            or any(self._renewal_due(tree, grant, now) is not None for grant in tree)
            or any(self._grace_of(tree, grant, now) is not None for grant in tree)
            or any(
                not self._queue.was_ever_open(_ownerless_key(one)) for one in ownerless(tree, self._people.left(), now)
            )
        )

    def _due(self, now: datetime) -> RoundDue:
        """Asked for once: most rounds find nothing, and reading the tree is what costs."""
        if self._found is None:
            self._found = self._queue.due(now, self._policy.remind)
        return self._found

    def _overdue(self, now: datetime) -> tuple[int, int]:
        escalated = expired = 0
        overdue = [ticket for ticket in self._tickets.all_open() if _is_overdue(ticket, now)]
        for ticket in overdue[:OVERDUE_AT_ONCE]:
            if now >= ticket.expires_at:
                self._service.expire(ticket, now)
                expired += 1
            else:
                after = self._service.escalate(ticket, now)
                escalated, expired = escalated + after.is_open, expired + (not after.is_open)
        return escalated, expired

    def _remind(self, tree: Tree, now: datetime) -> int:
        """Tells owner and stand-in that their grant ends, once per step of its window; not while a renewal waits."""
        told = 0
        for grant in tree:
            window = self._open_window(grant, now)
            if window is None or self._renewal_due(tree, grant, now) is not None:
                continue
            left = grant.expires_at - now
            # Of prices people are told once, ahead of all steps.
            step = -1 if window.reason == "prices moved" else sum(left <= one for one in self._policy.remind)
            body = {
                "path": grant.path,
                "owner": grant.owner,
                "class": grant.grant_class,
                "expires_at": format_instant(grant.expires_at),
                "reason": window.reason,
                "renew": f"remit ticket renew {grant.path}",
            }
            if suggested := suggested_changes(tree, grant, self._tickets.periods(grant.id, now), now):
                body |= {"detail": suggestion_text(suggested), "renew": f"{body['renew']} --suggested"}
            told += self._tell("renewal_due", grant, self._owner_side(grant, now), body, step)
        return told

    def _open_window(self, grant: Grant, now: datetime) -> Window | None:
        """The window in which a grant should be renewed, if it is open and nobody has asked yet."""
        # No window opens earlier than this, and most grants are far from it.
        early = grant.expires_at - timedelta(days=2 * grant.renewal.lead_time_days)
        if not grant.is_live(now) or grant.status != "active" or now < early:
            return None
        use = self._tickets.use(grant.id, now)
        window = renewal_window(grant, use, now)
        if not window.is_open(now):
            # Asked last, and only where the answer matters.
            earlier = renewal_window(grant, use, now, prices_moved=True)
            window = earlier if earlier.is_open(now) and self._tickets.prices_moved(grant.id, now) else window
        asked = window.is_open(now) and self._tickets.open_with(renewal_key(grant)) is not None
        return window if window.is_open(now) and not asked else None

    def _renewal_due(self, tree: Tree, grant: Grant, now: datetime) -> RenewGrant | None:
        """The renewal that a grant and an envelope above it have settled ahead, if it is time for it.

        Moved prices are for people to hear of early; what renews itself does so in its usual window.
        """
        if grant.renewal.auto_tier is None:
            return None
        window = self._open_window(grant, now)
        if window is None or window.reason == "prices moved":
            return None
        return self._automatic.due(tree, grant, self._tickets.use(grant.id, now), now)

    def _renew(self, now: datetime) -> int:
        """Asks for the renewals that nobody has to ask for; the envelope answers at once."""
        renewed, tree = 0, self._read_tree()
        for grant in tree:
            effect = self._renewal_due(tree, grant, now)
            if effect is None:
                continue
            key = renewal_key(grant)
            by = system_author(f"its renewal is settled ahead, up to the tier {grant.renewal.auto_tier}", key, now)
            ticket = self._service.open(Asked(effect=effect, dedupe_key=key), by)
            renewed += isinstance(ticket, Ticket) and ticket.state == "approved"
        return renewed

    def _tell_lapsed(self, tree: Tree, now: datetime) -> int:
        """Tells those around a grant that it has expired: its owner, their stand-in, and the owner above."""
        told = 0
        for grant in tree:
            over = grant.status not in ("revoked", "requested") and now >= grant.expires_at
            if not over or now > grant.expires_at + _LAPSED_SINCE:
                continue
            above = tree.ancestors(grant)
            recipients = [*self._owner_side(grant, now), *([above[-1].owner] if above else [])]
            body = {
                "path": grant.path,
                "owner": grant.owner,
                "class": grant.grant_class,
                "expired_at": format_instant(grant.expires_at),
            }
            told += self._tell("lapsed", grant, recipients, body, 0)
        return told

    def _give_grace(self, now: datetime) -> int:
        """Moves the expiry of a production grant by the grace its boundary allows: once, in sight of everybody."""
        given = 0
        # Parents come before their children, and a parent's grace makes room for theirs.
        tree = self._read_tree()
        for one in tree:
            grant = tree[one.id]
            found = self._grace_of(tree, grant, now)
            if found is None:
                continue
            allowed, until = found
            reason = f"grace until {format_instant(until)}, as the boundary of `{allowed.path}` allows"
            by = system_author(reason, f"grace:{grant.id}", now)
            if isinstance(self._grants.change(grant.id, GrantEdit(expires_at=until), by), NotWritten):
                continue
            self._queue.keep_grace(grant.id, grant.expires_at, until)
            body = {
                "path": grant.path,
                "owner": grant.owner,
                "class": grant.grant_class,
                "expired_at": format_instant(grant.expires_at),
                "grace_until": format_instant(until),
            }
            self._tell("grace", grant, [*self._owner_side(grant, now), allowed.owner], body, 0)
            given, tree = given + 1, self._read_tree()
        return given

    def _grace_of(self, tree: Tree, grant: Grant, now: datetime) -> tuple[Grant, datetime] | None:
        """Whose boundary allows a grant its grace now, and until when; None where it has none, or had it."""
        if grant.grant_class != "production" or not grant.is_live(now) or grant.expires_at > now + GRACE_AHEAD:
            return None
        above = tree.ancestors(grant)
        allowed = next((one for one in reversed(above) if _grace_hours(one)), None)
        if allowed is None or self._queue.grace_until(grant.id) == grant.expires_at:
            return None
        until = min([grant.expires_at + timedelta(hours=_grace_hours(allowed)), *(one.expires_at for one in above)])
        return (allowed, until) if until > grant.expires_at else None

    def _end_break_glasses(self, now: datetime) -> int:
        """Takes back what was raised for an emergency, and asks for the review."""
        ended = 0
        for glass in self._queue.break_glasses_due(now):
            by = system_author(
                f"the break-glass of ticket {glass.ticket_id} ends", f"break-glass:{glass.ticket_id}", now
            )
            kept = self._writer.lower(glass.raised, by)
            self._queue.end_break_glass(glass.ticket_id, now)
            ticket = self._tickets.find(glass.ticket_id)
            assert ticket is not None and ticket.grant_id is not None
            self._open_finding(
                ticket.grant_id,
                "break_glass_review",
                f"review:{ticket.id}",
                {"break_glass": ticket.id, "not_taken_back": kept},
            )
            ended += 1
        return ended

    def _open_what_nobody_asked(self, now: datetime) -> int:
        opened = 0
        tree = self._read_tree()
        for debt in self._queue.debts_without_ticket(now):
            effect = SettleDebt(
                grant_id=debt.grant_id,
                period_kind=debt.period_kind,
                period_start=debt.period_start,
                amount_nanousd=debt.amount_nanousd,
            )
            asked = Asked(effect=effect, dedupe_key=debt.key, evidence={"debt_nanousd": debt.amount_nanousd})
            by = system_author(
                "an overdraft is owed: approving forgives it, else the next period repays it", debt.key, now
            )
            # Whoever answers for the debt is who asks: they do not decide about it.
            owner = tree[debt.grant_id].owner
            if self._people.is_active(owner):
                by = replace(by, actor=Actor(owner, is_admin=True))
            opened += not isinstance(self._service.open(asked, by), list)
        for trip in self._queue.trips_without_ticket():
            opened += self._open_finding(trip.grant_id, "runaway", f"trip:{trip.id}", {"trip": dict(trip.about)})
        for grant in ownerless(tree, self._people.left(), now):
            opened += self._open_finding(grant.id, "no_active_owner", _ownerless_key(grant), {})
        return opened

    def _open_finding(self, grant_id: str, code: str, key: str, evidence: Mapping[str, object]) -> bool:
        if self._queue.was_ever_open(key):
            return False
        effect = Acknowledge(code=code, about=grant_id)
        asked = Asked(effect=effect, dedupe_key=key, evidence=evidence)
        opened = self._service.open(asked, system_author(_FINDINGS[code], key, self._clock.now()))
        return isinstance(opened, Ticket)

    def _owner_side(self, grant: Grant, now: datetime) -> list[str]:
        delegate = self._people.delegate_of(grant.owner, now)
        return [grant.owner] if delegate is None or same_person(delegate, grant.owner) else [grant.owner, delegate]

    def _tell(
        self, kind: str, grant: Grant, recipients: Sequence[str], body: Mapping[str, object], number: int
    ) -> bool:
        names = tuple(dict.fromkeys(recipients))
        notice = Notice(
            kind=kind, grant_id=grant.id, recipients=names, body=body, occasion=grant.expires_at, number=number
        )
        return self._tickets.notify(notice)


_FINDINGS = {
    "break_glass_review": "a break-glass has ended: look at what it was used for",
    "runaway": "the breaker stopped or throttled a runaway: find its cause",
    "no_active_owner": "its owner has left: give it to somebody, or let it end",
}


def _is_overdue(ticket: Ticket, now: datetime) -> bool:
    return now >= min(ticket.due_at, ticket.expires_at)


def _grace_hours(grant: Grant) -> int:
    boundary = grant.delegation.boundary
    return 0 if boundary is None else boundary.grace_hours


def _ownerless_key(grant: Grant) -> str:
    return f"ownerless:{grant.id}:{grant.owner.casefold()}"
