"""Every write of a ticket: opened, commented, decided, withdrawn. All of it happens in one transaction of the tree.

An approval and what it carries out stand or fall together, so nothing is approved that was not done, and nothing is done twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from remit.grants.model import Actor, Grant, Problem, is_within, same_person
from remit.grants.service import Authorship, authorship_problems
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.kernel.ids import new_id
from remit.renewals.about import Outlook, grant_of, limit_change, outlook, path_of, people_needed, settled
from remit.renewals.asking import Asking, unknown_ticket
from remit.renewals.conflicts import Barred, barred_from_books, why_barred
from remit.renewals.deciders import authority, first_asked, joint_authority, levels, may_decide, subject_of
from remit.renewals.effects import (
    Acknowledge,
    BreakGlass,
    CloseMonth,
    CreateGrant,
    Effect,
    MoveLimit,
    OfBooks,
    PostAdjustments,
    RenewGrant,
    ReopenMonth,
    SetLimits,
    SettleDebt,
    effect_body,
    effect_of,
)
from remit.renewals.envelope import author_of, envelope_of
from remit.renewals.exposure import Exposure
from remit.renewals.model import SYSTEM, Policy, Source, Ticket, TicketKind, Tier
from remit.renewals.ports import People, Tickets
from remit.renewals.scribe import Scribe
from remit.renewals.suggestion import filled_in, suggested_changes, suggestion_body
from remit.renewals.writes import EffectWriter, ReadTree, system_author

_KINDS: Mapping[type, TicketKind] = {
    CreateGrant: "grant",
    RenewGrant: "renew",
    SetLimits: "increase",
    MoveLimit: "transfer",
    BreakGlass: "break_glass",
    SettleDebt: "debt",
    Acknowledge: "finding",
    PostAdjustments: "books",
    ReopenMonth: "books",
    CloseMonth: "books",
}
_MAX_COMMENT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a decision. `dedupe_key` is what at most one open ticket is about.

    `suggested`: a renewal is to ask for the limits that the grant's use suggests.
    """

    effect: Effect
    dedupe_key: str | None = None
    evidence: Mapping[str, Any] | None = None
    source: Source = "remit"
    suggested: bool = False


@dataclass(frozen=True, slots=True)
class LookAgain:
    """An approval that did not count: it would give more than was shown. The ticket, as it is shown now, and why.

    Unlike a refusal it is kept: whoever looks finds the new numbers, and who approves then approves these.
    """

    ticket: Ticket
    problem: Problem


class TicketService:
    """Over parts that are bound to one open transaction, which excludes all other writers of the tree."""

    def __init__(  # noqa: PLR0917 - one parameter per part it is joined from
        self, tickets: Tickets, people: People, writer: EffectWriter, read_tree: ReadTree, policy: Policy, clock: Clock
    ) -> None:
        self._tickets = tickets
        self._scribe = Scribe(tickets, clock)
        self._asking = Asking(tickets, people, policy)
        self._people = people
        self._writer = writer
        self._read_tree = read_tree
        self._policy = policy
        self._clock = clock

    def open(self, asked: Asked, by: Authorship) -> Ticket | list[Problem]:
        """Opens a ticket for named people, or decides it at once inside an envelope.

        Refused where its effect could be carried out by nobody as things stand, with the reasons: a ticket that waits is
        one that an answer ends.
        """
        tree, now, effect = self._read_tree(), self._clock.now(), asked.effect
        problems = authorship_problems(by) or self._asking.problems(tree, asked.effect, asked.dedupe_key, by.actor, now)
        if problems:
            return problems
        asked = self._with_suggestion(tree, asked, now)
        effect = asked.effect
        after = self._writer.tried(effect, system_author("is it possible at all", "trial", now))
        if isinstance(after, list):
            return after
        above = subject_of(tree, effect)
        steps = self._levels(above, by.actor.name, effect, by, now)
        if not steps:
            return [Problem(code="nobody_to_ask", path=path_of(tree, effect), detail=_nobody(effect))]
        shown = outlook(tree, after, effect)
        ticket = self._new(tree, replace(asked, effect=settled(effect, after)), by, shown, steps, now)
        self._tickets.insert(ticket)
        self._scribe.record(ticket, by.actor.name, "opened", by.reason, asked.source)
        found = self._envelope_of(ticket, above, shown, now)
        if found is not None:
            return self._decide_by_envelope(ticket, *found, now)
        self._scribe.tell(ticket, "ticket_opened", ticket.assignees)
        return ticket

    def approve(self, ticket_id: str, by: Authorship, source: Source = "remit") -> Ticket | LookAgain | list[Problem]:
        """One person's yes. With the last one needed the effect is carried out, as the person who said it.

        A yes is to what was shown. Where the tree has changed so that it would give more by now, nothing is done.
        """
        found = self._deciding(ticket_id, by)
        if isinstance(found, list):
            return found
        ticket, above, now = found
        if any(same_person(by.actor.name, name) for name in ticket.approved_by):
            detail = f"`{by.actor.name}` approved ticket {ticket.id} already; it takes {ticket.needed} people"
            return [Problem(code="approved_already", path=ticket.path, detail=detail)]
        problems = self._reach_problems(ticket, by.actor)
        if problems:
            return problems
        approved_by = (*self._words_that_count(ticket, above, now), by.actor.name)
        effect = effect_of(ticket.effect)
        shown = self._shown_now(ticket, effect, now)
        if isinstance(shown, list):
            return shown
        if shown.goes_beyond(Outlook.of_evidence(ticket.evidence)):
            return self._show_again(ticket, shown, by, now)
        if len(approved_by) < ticket.needed:
            waiting = replace(ticket, approved_by=approved_by, revision=ticket.revision + 1)
            self._tickets.update(waiting)
            self._scribe.record(waiting, by.actor.name, "approved", by.reason, source)
            return waiting
        author = replace(
            by,
            actor=joint_authority(approved_by, above, ticket.requester, by.actor, self._people, now),
            idempotency_key=f"ticket:{ticket.id}",
        )
        done = self._writer.carry_out(effect, author)
        if isinstance(done, list):
            return done
        done = {**done, "exposure": shown.exposure.text()}
        return self._scribe.end(replace(ticket, approved_by=approved_by), "approved", by, source, done)

    def _with_suggestion(self, tree: Tree, asked: Asked, now: datetime) -> Asked:
        """A renewal with what the grant's use suggests: as evidence, and as what is asked for where that is wanted."""
        effect = asked.effect
        if not isinstance(effect, RenewGrant):
            return asked
        changes = suggested_changes(tree, tree[effect.grant_id], self._tickets.periods(effect.grant_id, now), now)
        evidence = {**(asked.evidence or {}), "suggestion": suggestion_body(changes, taken=asked.suggested)}
        return replace(asked, effect=filled_in(effect, changes) if asked.suggested else effect, evidence=evidence)

    def _shown_now(self, ticket: Ticket, effect: Effect, now: datetime) -> Outlook | list[Problem]:
        """What a person would be shown if they asked now; or why nobody could carry it out any more."""
        tree = self._read_tree()
        after = self._writer.tried(effect, system_author("what would it do", f"trial:{ticket.id}", now))
        return after if isinstance(after, list) else outlook(tree, after, effect)

    def _show_again(self, ticket: Ticket, shown: Outlook, by: Authorship, now: datetime) -> LookAgain:
        """Puts the new numbers in place of the old. A word that was given on the old ones counts no more."""
        before = Outlook.of_evidence(ticket.evidence).exposure.text()
        use = {} if ticket.grant_id is None else self._tickets.evidence(ticket.grant_id, now)
        changed = replace(
            ticket,
            evidence={**ticket.evidence, **use, **shown.body(), **limit_change(effect_of(ticket.effect), shown)},
            approved_by=(),
            revision=ticket.revision + 1,
        )
        self._tickets.update(changed)
        text = f"not approved by {by.actor.name}: it was {before} when it was asked, and is {shown.exposure.text()} now"
        self._scribe.record(changed, SYSTEM, "commented", text)
        asked = dict.fromkeys((*changed.assignees, by.actor.name, *ticket.approved_by))
        self._scribe.tell(changed, "ticket_opened", list(asked), number=changed.revision, text=text)
        detail = (
            f"ticket {ticket.id} was shown as {before} and is {shown.exposure.text()} by now: nothing was approved; "
            "look at it again, and approve it once more if that is right"
        )
        return LookAgain(changed, Problem(code="look_again", path=ticket.path, field="evidence", detail=detail))

    def decline(self, ticket_id: str, by: Authorship, source: Source = "remit") -> Ticket | list[Problem]:
        """One person's no, which ends it."""
        found = self._deciding(ticket_id, by)
        if isinstance(found, list):
            return found
        return self._scribe.end(found[0], "declined", by, source, {})

    def withdraw(self, ticket_id: str, by: Authorship, source: Source = "remit") -> Ticket | list[Problem]:
        """The requester takes it back."""
        ticket = self._open(ticket_id, by)
        if isinstance(ticket, list):
            return ticket
        problems = self._asking.speaking_problems(self._read_tree(), ticket, by.actor)
        if problems:
            return problems
        if not same_person(ticket.requester, by.actor.name):
            detail = f"ticket {ticket.id} is `{ticket.requester}`'s to withdraw"
            return [Problem(code="not_permitted", path=ticket.path, detail=detail)]
        return self._scribe.end(ticket, "withdrawn", by, source, {})

    def comment(self, ticket_id: str, text: str, by: Authorship, source: Source = "remit") -> Ticket | list[Problem]:
        """Adds to the thread; also after the decision."""
        ticket = self._tickets.find(ticket_id)
        if ticket is None:
            return [unknown_ticket(ticket_id)]
        problems = authorship_problems(by) or self._asking.speaking_problems(self._read_tree(), ticket, by.actor)
        if not text.strip() or len(text) > _MAX_COMMENT:
            detail = f"a comment has 1 to {_MAX_COMMENT:,} characters"
            problems.append(Problem(code="comment_invalid", path=ticket.path, field="text", detail=detail))
        if problems:
            return problems
        self._scribe.record(ticket, by.actor.name, "commented", text, source)
        others = [one for one in (ticket.requester, *ticket.assignees) if not same_person(one, by.actor.name)]
        # One notice for each comment: their number tells them apart.
        number = len(self._tickets.events(ticket.id))
        told = [one for one in others if one != SYSTEM]
        self._scribe.tell(ticket, "ticket_commented", told, number=number, text=text, who=by.actor.name)
        return ticket

    def reassign(self, ticket_id: str, to: str, by: Authorship, source: Source = "remit") -> Ticket | list[Problem]:
        """Somebody it waits for, or who may decide it, hands it to somebody else who may decide it."""
        found = self._deciding(ticket_id, by)
        if isinstance(found, list):
            return found
        ticket, _, now = found
        if not self.stands(to, ticket, now):
            detail = f"`{to}` may not decide ticket {ticket.id}: they stand above nothing it is about"
            return [Problem(code="not_permitted", path=ticket.path, field="to", detail=detail)]
        handed = replace(ticket, assignees=(to,), revision=ticket.revision + 1)
        self._tickets.update(handed)
        self._scribe.record(handed, by.actor.name, "reassigned", f"to {to}: {by.reason}", source)
        self._scribe.tell(handed, "ticket_opened", [to], number=handed.revision)
        return handed

    def expire(self, ticket: Ticket, now: datetime) -> Ticket:
        """Ends a ticket that nobody answered."""
        by = system_author("nobody decided in time", f"expire:{ticket.id}", now)
        return self._scribe.end(ticket, "expired", by, "remit", {})

    def escalate(self, ticket: Ticket, now: datetime) -> Ticket:
        """Asks the next people; where there are none the ticket expires."""
        steps = self.steps(ticket, now)
        if ticket.level + 1 >= len(steps):
            return self.expire(ticket, now)
        level = ticket.level + 1
        asked = replace(
            ticket,
            level=level,
            assignees=tuple(steps[level]),
            due_at=self.due(ticket, now),
            revision=ticket.revision + 1,
        )
        self._tickets.update(asked)
        self._scribe.record(
            asked, SYSTEM, "escalated", f"no answer by {ticket.due_at.isoformat()}: to {', '.join(steps[level])}"
        )
        self._scribe.tell(asked, "ticket_escalated", asked.assignees, number=level)
        return asked

    def steps(self, ticket: Ticket, now: datetime) -> list[list[str]]:
        """The people to ask about a ticket as things stand, level by level."""
        effect = effect_of(ticket.effect)
        above = subject_of(self._read_tree(), effect)
        by = system_author("who could decide it", f"levels:{ticket.id}", now)
        return self._levels(above, ticket.requester, effect, by, now)

    def stands(self, name: str, ticket: Ticket, now: datetime) -> bool:
        """Whether somebody may decide a ticket by where they stand, and not because they were asked."""
        above = subject_of(self._read_tree(), effect_of(ticket.effect))
        other = authority(Actor(name), above, ticket.requester, self._people, now)
        return self._may_decide(replace(ticket, assignees=()), above, other, now)

    def due(self, ticket: Ticket, now: datetime) -> datetime:
        """Until when people who are asked now have time."""
        return min(ticket.expires_at, now + self._due(ticket.kind, ticket.tier))

    def _levels(
        self, above: Sequence[Grant], requester: str, effect: Effect, by: Authorship, now: datetime
    ) -> list[list[str]]:
        def enough(name: str) -> bool:
            return self._enough(name, above, effect, by, requester)

        steps = levels(above, requester, effect, self._people, enough, now)
        if not isinstance(effect, OfBooks):
            return steps
        barred = self._barred(effect, requester, now)
        asked = [[name for name in step if why_barred(name, barred) is None] for step in steps]
        return [step for step in asked if step]

    def _barred(self, effect: Effect, requester: str, now: datetime) -> list[Barred]:
        """Who has no say in the books, whatever else they may; nobody in anything else."""
        if not isinstance(effect, OfBooks):
            return []
        return barred_from_books(self._read_tree(), requester, self._writer.proposal(effect), self._people, now)

    def _may_decide(self, ticket: Ticket, above: Sequence[Grant], actor: Actor, now: datetime) -> bool:
        barred = self._barred(effect_of(ticket.effect), ticket.requester, now)
        return may_decide(ticket, above, actor, self._people, now) and why_barred(actor.name, barred) is None

    def _enough(self, name: str, above: Sequence[Grant], effect: Effect, by: Authorship, requester: str) -> bool:
        if isinstance(effect, BreakGlass | SettleDebt | Acknowledge | OfBooks):
            return True
        now = self._clock.now()
        actor = authority(Actor(name), above, requester, self._people, now)
        return not self._writer.problems(effect, replace(by, actor=actor, idempotency_key=f"trial:{name}"[:200]))

    def _new(  # noqa: PLR0917 - one parameter per thing a ticket is made of
        self, tree: Tree, asked: Asked, by: Authorship, shown: Outlook, steps: Sequence[Sequence[str]], now: datetime
    ) -> Ticket:
        effect = asked.effect
        kind, tier = _KINDS[type(effect)], tier_of(self._policy, effect, shown.exposure)
        grant = None if isinstance(effect, CreateGrant) else tree.find(grant_of(effect))
        evidence = {
            **shown.body(),
            **limit_change(effect, shown),
            **({} if grant is None else self._tickets.evidence(grant.id, now)),
            **(asked.evidence or {}),
        }
        level, first = first_asked(steps, people_needed(effect))
        due = self._due(kind, tier)
        expires_at = now + 4 * due
        if isinstance(effect, BreakGlass):
            expires_at = min(expires_at, effect.ends_at)
        return Ticket(
            id=new_id("ticket", now),
            kind=kind,
            grant_id=None if grant is None else grant.id,
            path=path_of(tree, effect),
            requester=by.actor.name,
            assignees=first,
            level=level,
            tier=tier,
            opened_at=now,
            due_at=min(now + due, expires_at),
            expires_at=expires_at,
            reason=by.reason,
            effect=effect_body(effect),
            evidence=evidence,
            needed=people_needed(effect),
            dedupe_key=asked.dedupe_key,
        )

    def _due(self, kind: TicketKind, tier: Tier) -> timedelta:
        return self._policy.break_glass_due if kind == "break_glass" else self._policy.due[tier]

    def _renewals_in_a_row(self, ticket: Ticket) -> int:
        return self._tickets.renewals_in_a_row(ticket.grant_id) if ticket.grant_id is not None else 0

    def _envelope_of(
        self, ticket: Ticket, above: Sequence[Grant], shown: Outlook, now: datetime
    ) -> tuple[Grant, str] | None:
        """The envelope that holds a request, and whose word it is; None where a person has to decide."""
        effect = effect_of(ticket.effect)
        envelope = envelope_of(above, effect, shown, self._renewals_in_a_row(ticket), now)
        if envelope is None:
            return None
        author = author_of(envelope, ticket.requester, self._tickets, self._people)
        # No more than the boundary's owner could hand out now: an envelope is no way around its own boundary.
        owner = replace(system_author("could they", f"owner:{ticket.id}", now), actor=Actor(envelope.owner))
        return None if author is None or self._writer.problems(effect, owner) else (envelope, author)

    def _decide_by_envelope(
        self, ticket: Ticket, envelope: Grant, author: str, now: datetime
    ) -> Ticket | list[Problem]:
        """The word of whoever wrote the envelope, given ahead. Where nobody asked it is the owner's to know."""
        ahead = ticket.requester == SYSTEM
        told = self._owner_side(ticket, now) if ahead else None
        where = f"the envelope that `{envelope.path}` states at revision {envelope.revision}"
        reason = f"ahead, by {where}" if ahead else f"inside {where}"
        by = replace(system_author(reason, f"envelope:{ticket.id}", now), actor=Actor(author, is_admin=True))
        with self._tickets.written_as(author, reason):
            done = self._writer.carry_out(effect_of(ticket.effect), by)
            if isinstance(done, list):
                return done
            return self._scribe.end(replace(ticket, tier="auto"), "approved", by, "remit", done, told)

    def _owner_side(self, ticket: Ticket, now: datetime) -> list[str]:
        assert ticket.grant_id is not None
        owner = self._read_tree()[ticket.grant_id].owner
        return list(dict.fromkeys([owner, self._people.delegate_of(owner, now) or owner]))

    def _reach_problems(self, ticket: Ticket, actor: Actor) -> list[Problem]:
        """Where a token held to one grant would be one word of several for what lies outside: they are counted by name."""
        if ticket.needed == 1 or actor.within is None:
            return []
        held = self._read_tree()[actor.within].path
        raised = [one.path for one in Outlook.of_evidence(ticket.evidence).raises]
        outside = next((path for path in raised if not is_within(path, held)), None)
        if outside is None:
            return []
        detail = f"ticket {ticket.id} raises `{outside}` as well, and this token is held to `{held}`"
        return [Problem(code="not_permitted", path=ticket.path, detail=detail)]

    def _words_that_count(self, ticket: Ticket, above: Sequence[Grant], now: datetime) -> tuple[str, ...]:
        """Who approved before and may still decide: authority that has ended meanwhile approved nothing."""
        # Who works where the database is answers for everything, and need have no role to lose.
        operators = {
            event.who.casefold()
            for event in (self._tickets.events(ticket.id) if ticket.approved_by else ())
            if event.what == "approved" and event.source == "command"
        }
        words = [Actor(name, is_admin=name.casefold() in operators) for name in ticket.approved_by]
        known = [authority(one, above, ticket.requester, self._people, now) for one in words]
        return tuple(one.name for one in known if self._may_decide(ticket, above, one, now))

    def _open(self, ticket_id: str, by: Authorship) -> Ticket | list[Problem]:
        problems = authorship_problems(by)
        if problems:
            return problems
        ticket = self._tickets.find(ticket_id)
        if ticket is None:
            return [unknown_ticket(ticket_id)]
        if not ticket.is_open:
            detail = f"ticket {ticket.id} was {ticket.state} by `{ticket.decided_by}`"
            return [Problem(code="ticket_not_open", path=ticket.path, detail=detail)]
        if self._clock.now() >= ticket.expires_at:
            detail = f"ticket {ticket.id} expired at {ticket.expires_at.isoformat()}; ask again"
            return [Problem(code="ticket_not_open", path=ticket.path, detail=detail)]
        return ticket

    def _deciding(self, ticket_id: str, by: Authorship) -> tuple[Ticket, tuple[Grant, ...], datetime] | list[Problem]:
        ticket, now = self._open(ticket_id, by), self._clock.now()
        if isinstance(ticket, list):
            return ticket
        above = subject_of(self._read_tree(), effect_of(ticket.effect))
        actor = authority(by.actor, above, ticket.requester, self._people, now)
        if self._may_decide(ticket, above, actor, now):
            return ticket, above, now
        why = f"it waits for {', '.join(ticket.assignees)}"
        if same_person(by.actor.name, ticket.requester):
            why = "nobody decides their own request"
        elif any(same_person(by.actor.name, name) for name in ticket.assignees):
            why = "they were asked, but would not be any more, or not with this token"
        barred = self._barred(effect_of(ticket.effect), ticket.requester, now)
        why = why_barred(by.actor.name, barred) or why
        detail = f"`{by.actor.name}` may not decide ticket {ticket.id}: {why}"
        return [Problem(code="not_permitted", path=ticket.path, detail=detail)]


def _nobody(effect: Effect) -> str:
    if isinstance(effect, OfBooks):
        return (
            "there is nobody to decide this: it takes somebody else with the role finance or org_owner, who did not make the"
            " comparison and owns nothing that is charged less by it"
        )
    return "there is nobody to decide this: no owner above, no approver and no owner of the organisation but you"


def tier_of(policy: Policy, effect: Effect, exposure: Exposure) -> Tier:
    """How much is at stake."""
    if isinstance(effect, ReopenMonth | CloseMonth):
        return "large"
    if isinstance(effect, PostAdjustments):
        return _tier(policy, abs(effect.amount_nanousd))
    raised = exposure.raised_by
    if isinstance(effect, RenewGrant | CreateGrant) and raised is not None:
        raised = exposure.after  # what goes on without it ends is at stake as a whole
    return "large" if raised is None else _tier(policy, raised)


def _tier(policy: Policy, amount_nanousd: int) -> Tier:
    if amount_nanousd >= policy.large_nanousd:
        return "large"
    return "small" if amount_nanousd <= policy.small_nanousd else "standard"
