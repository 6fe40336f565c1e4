"""Whatever people of all kinds do to grants and tickets in any order, the rules of both stand after every step."""

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from remit.grants.edits import GrantEdit, NewGrant
from remit.grants.effective import effective
from remit.grants.model import same_person
from remit.grants.rules import tree_problems
from remit.grants.service import Authorship, GrantService
from remit.renewals import requests
from tests.renewals.office import ADMIN, EVE, RITA, SAM, TOM, USD, Office, usd

OWEN = "owen@acme.example"
PEOPLE = st.sampled_from([ADMIN, RITA, SAM, TOM, EVE, SAM.upper()])
PATHS = st.sampled_from(
    ["acme", "acme/research", "acme/research/search", "acme/research/eval", "acme/research/a", "acme/research/a/b"]
)
DOLLARS = st.sampled_from([0, 1, 50, 100, 150, 200, 300, 500, 1000, 2000])
DAYS = st.sampled_from([1, 30, 89, 90, 91, 365, 400])
VERBS = st.sampled_from(["approve", "approve", "approve", "decline", "withdraw"])
CLASSES = st.sampled_from(["production", "experimentation", None])


class Organisation(RuleBasedStateMachine):
    """Rules are what anybody may try; most of it is refused, which is the point."""

    @initialize()
    def open(self) -> None:
        self.office = Office()
        self.office.authority.people().create(OWEN, "setup", is_admin=True)

    def by(self, name: str) -> Authorship:
        return self.office.by(name, admin=name == ADMIN)

    @rule(name=PEOPLE, path=PATHS, owner=PEOPLE, dollars=DOLLARS, days=DAYS, kind=CLASSES)
    def create(  # noqa: PLR0917 - one parameter per thing that is drawn
        self, name: str, path: str, owner: str, dollars: int, days: int, kind: Any
    ) -> None:
        until = self.office.clock.now() + timedelta(days=days)
        new = NewGrant(path=path, owner=owner, limits=(usd(dollars),), grant_class=kind, expires_at=until)
        self.office.authority.grants.create(new, self.by(name))

    @rule(name=PEOPLE, path=PATHS, dollars=DOLLARS, days=DAYS)
    def change(self, name: str, path: str, dollars: int, days: int) -> None:
        edit = GrantEdit(limits=(usd(dollars),), expires_at=self.office.clock.now() + timedelta(days=days))
        self.office.authority.grants.change(path, edit, self.by(name))

    @rule(
        name=PEOPLE, path=PATHS, verb=st.sampled_from([GrantService.suspend, GrantService.resume, GrantService.revoke])
    )
    def end(self, name: str, path: str, verb: Any) -> None:
        if verb is GrantService.revoke and "/a" not in path:
            return
        verb(self.office.authority.grants, path, self.by(name))

    @rule(data=st.data(), path=PATHS, change=st.sampled_from([-100, -50, -1, 0, 1, 50, 100, 1000]))
    def ask_increase(self, data: st.DataObject, path: str, change: int) -> None:
        grant = self.office.tree().at_path(path)
        now = 0 if grant is None else grant.limits[0].amount // USD
        changes = {("usd", "month"): max(0, now + change) * USD}
        self.office.ask(self.asker(data, path), requests.increase, path, changes, "api")

    @rule(data=st.data(), path=PATHS, days=DAYS, dollars=DOLLARS | st.none())
    def ask_renewal(self, data: st.DataObject, path: str, days: int, dollars: int | None) -> None:
        changes = None if dollars is None else {("usd", "month"): dollars * USD}
        until = self.office.clock.now() + timedelta(days=days)
        self.office.ask(self.asker(data, path), requests.renewal, path, until, changes, "api")

    @rule(name=PEOPLE, path=PATHS, owner=PEOPLE, dollars=DOLLARS, kind=CLASSES)
    def ask_grant(self, name: str, path: str, owner: str, dollars: int, kind: Any) -> None:
        new = NewGrant(path=path, owner=owner, limits=(usd(dollars),), grant_class=kind)
        self.office.ask(name, requests.new_grant, new, "api")

    @rule(data=st.data(), path=PATHS, dollars=DOLLARS, hours=st.integers(1, 30))
    def ask_break_glass(self, data: st.DataObject, path: str, dollars: int, hours: int) -> None:
        ends_at = self.office.clock.now() + timedelta(hours=hours)
        self.office.ask(self.asker(data, path), requests.break_glass, path, dollars * USD, ends_at, "api")

    @rule(data=st.data(), verb=VERBS)
    def decide(self, data: st.DataObject, verb: str) -> None:
        self.say(data, verb)

    @rule(data=st.data(), first=VERBS, second=VERBS)
    def decide_twice(self, data: st.DataObject, first: str, second: str) -> None:
        self.say(data, first)
        self.say(data, second)

    def asker(self, data: st.DataObject, path: str) -> str:
        """Mostly the owner, who may ask; sometimes anybody."""
        grant = self.office.tree().at_path(path)
        return data.draw(PEOPLE if grant is None else st.just(grant.owner) | st.just(grant.owner) | PEOPLE)

    def say(self, data: st.DataObject, verb: str) -> None:
        """A decision about a ticket, mostly an open one, mostly by somebody who was asked."""
        # In an order that does not hang on ids, which are drawn at random.
        tickets = sorted(self.office.tickets(), key=lambda one: (one.opened_at, one.path, one.kind, one.requester))
        some = [one for one in tickets if one.is_open] or tickets
        if some:
            ticket = data.draw(st.sampled_from(some))
            name = data.draw(st.sampled_from(ticket.assignees) | st.sampled_from(ticket.assignees) | PEOPLE)
            answer = self.office.decide(verb, name, ticket.id, admin=name == ADMIN)
            event(f"{verb}: {'refused' if isinstance(answer, list) else f'{answer.kind} {answer.state}'}")

    @rule(hours=st.sampled_from([1, 5, 25, 73, 24 * 14, 24 * 80]))
    def wait(self, hours: int) -> None:
        self.office.clock.advance(timedelta(hours=hours))
        self.office.round()

    @invariant()
    def children_stay_within_their_parents(self) -> None:
        tree, now = self.office.tree(), self.office.clock.now()
        live = [grant.id for grant in tree if grant.is_live(now)]
        # What stands below something dead is dead itself and was judged when it was written.
        reached = [one for one in live if all(node.is_live(now) for node in tree.path_to(tree[one]))]
        assert tree_problems(tree, reached, now) == []

    @invariant()
    def an_effect_is_applied_once_by_somebody_else(self) -> None:
        for ticket in self.office.tickets():
            if ticket.state not in ("approved", "declined"):
                continue
            assert ticket.decided_by is not None
            assert not same_person(ticket.decided_by, ticket.requester), ticket
            assert not any(same_person(name, ticket.requester) for name in ticket.approved_by), ticket
            if ticket.state == "approved" and ticket.kind in ("grant", "renew", "increase"):
                assert self.office.revisions_of(ticket.id) <= 1, ticket
            if ticket.state == "declined":
                assert self.office.revisions_of(ticket.id) == 0, ticket

    @invariant()
    def nothing_expired_can_be_spent(self) -> None:
        tree, now = self.office.tree(), self.office.clock.now()
        for grant in tree:
            over = any(now >= node.expires_at or node.status == "expired" for node in tree.path_to(grant))
            if over:
                assert effective(tree.path_to(grant)).refusal_at(now) is not None, grant.path

    @invariant()
    def the_root_is_written_by_owners_of_the_organisation(self) -> None:
        writers = {who for path, who, _ in self.office.authors() if path == "acme"}
        assert writers <= {ADMIN, OWEN}, writers


Organisation.TestCase.settings = settings(
    max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOrganisation = Organisation.TestCase
