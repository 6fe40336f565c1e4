"""Whatever people of all kinds ask of the API in any order, a bystander finds nobody's right exceeded.

`REMIT_FUZZ_SECONDS` makes it longer (30 by default), `REMIT_FUZZ_SEED` draws other sequences.
"""

import os
import secrets
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from psycopg.rows import dict_row

from remit.kernel.money import NANOUSD_PER_USD as USD
from remit.testing.clock import ManualClock
from tests.api.bystander import Row, Snapshot, look, sums_that_exceed, usd_of
from tests.api.support import Caller, Plane, ref, usd
from tests.store.database import fresh_database

SECONDS = int(os.environ.get("REMIT_FUZZ_SECONDS", "30"))
SEED = int(os.environ.get("REMIT_FUZZ_SEED", "0"))
START = datetime(2027, 1, 4, 9, tzinfo=UTC)
ADA, FIN, SEC, AUD, APP, OLGA, SAM, TOM, LEA, EVE = NAMES = [
    f"{name}@acme.example" for name in ("ada", "fin", "sec", "aud", "app", "olga", "sam", "tom", "lea", "eve")
]
WHO = st.sampled_from([*NAMES, *[ADA] * 8, *[OLGA] * 6, SAM, SAM])
PATHS = st.sampled_from(
    ["acme", "acme/team", "acme/team/leaf", "acme/team/lea", "acme/other", "acme/team/x", "acme/team/x/y"]
)
DOLLARS = st.sampled_from([0, 1, 10, 20, 50, 50, 100, 101, 150, 500, 1000])
DAYS = st.sampled_from([1, 30, 60, 89, 90, 91, 200, 400])
ON_GRANT = st.sampled_from(["suspend", "resume", "revoke", "activate", "reclaim"])
ON_TICKET = st.sampled_from(["approve", "approve", "approve", "decline", "withdraw", "comment", "reassign"])
ASKS = st.sampled_from(["increase", "renew", "transfer", "break-glass", "grant"])
MATCH = st.sampled_from([None, None, None, None, 1, 2, 9])
ROLES = ((FIN, "finance", None), (SEC, "security", None), (AUD, "auditor", None), (APP, "approver", "acme"))
# (verb, whether it succeeded): how often.
DONE: Counter[tuple[str, bool]] = Counter()
READERS = (AUD, FIN, EVE)
# Who owns a grant and wants more of it is who tries first: amounts with which the owner asks, whoever was drawn.
MOSTLY_BY_OWNERS = (50, 101, 150)
# Which rows of which table the audit tells of, by what it calls them.
AUDITED = {
    "grants": "grant", "tickets": "ticket", "keys": "access_key", "roles": "role", "people": "person", "tokens": "token",
    "revocations": "revocation",
}  # fmt: skip


class Organisation(RuleBasedStateMachine):
    """Rules are what anybody may ask; most of it is refused, which is the point."""

    @initialize()
    def open(self) -> None:
        self.clock = ManualClock(START)
        self.stack = ExitStack()
        self.plane = self.stack.enter_context(Plane(url=fresh_database(), clock=self.clock))
        self.eyes = self.stack.enter_context(
            psycopg.connect(self.plane.url, options="-c search_path=remit", row_factory=dict_row)
        )
        self.callers: dict[str, Caller] = {}
        self.last: tuple[Any, ...] | None = None
        for name in NAMES:
            made = self.plane.people.create(name, "setup", is_admin=name == ADA, life=timedelta(days=366))
            self.callers[name] = self.plane.bearer(made.text)  # type: ignore[union-attr]
        ada = self.callers[ADA]
        ada.made("acme", 1000 * USD, owner=ADA, expires_at=self.until(365))
        ada.made("acme/team", 500 * USD, owner=OLGA, delegation={"overcommit_percent": 20})
        for path, owner in (("acme/team/leaf", SAM), ("acme/team/lea", LEA), ("acme/other", TOM)):
            ada.made(path, 100 * USD, owner=owner, expires_at=self.until(90))
        for name, role, grant in ROLES:
            assert ada.write("POST", "/roles", {"person": name, "role": role, "grant": grant, "reason": "x"}).is_success
        for name, path in ((SAM, "acme/team/leaf"), (TOM, "acme/other"), (OLGA, "acme/team/lea")):
            body = {"grant": path, "limits": [usd(150 * USD)], "reason": "more"}
            assert self.callers[name].write("POST", "/tickets/increase", body).status_code == 201
        self.before = look(self.eyes)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    def tickets(self) -> list[Row]:
        """All of them, the open ones first, in an order that goes by nothing random."""
        return sorted(
            self.before["tickets"].values(),
            key=lambda row: (
                row["state"] != "open", row["path"], row["kind"], row["requester"], row["opened_at"], row["revision"],
                row["state"], row["assignees"], row["approved_by"], str(row["effect"].get("limits")),
            ),
        )  # fmt: skip

    def owner_of(self, path: str, name: str) -> str:
        """Whoever owns the grant of a path; `name` where nobody does who is here."""
        owners = [row["owner"] for row in self.before["grants"].values() if row["path"] == path]
        return owners[0] if owners and owners[0] in self.callers else name

    def until(self, days: int) -> str:
        return (self.clock.now() + timedelta(days=days)).isoformat()

    def send(  # noqa: PLR0917 - one parameter per part of a request
        self, name: str, method: str, route: str, body: Any, match: Any = None, key: str | None = None
    ) -> httpx.Response:
        """One request, judged."""
        key = key or secrets.token_hex(8)
        answer = self.callers[name].write(method, route, {"reason": "test", **body}, key=key, if_match=match)
        after = look(self.eyes)
        judge(Sent(name, route, key, answer), self.before, after)
        DONE[(route.rpartition("/")[2] if method == "POST" else "change", answer.is_success)] += 1
        event(f"{method} {route.rpartition('/')[2] if method == 'POST' else 'grant'}: {answer.status_code}")
        self.before, self.last = after, (name, method, route, body, match, key, answer)
        return answer

    @rule(name=WHO, path=PATHS, owner=WHO, dollars=DOLLARS, days=DAYS, status=st.sampled_from(["active", "requested"]))
    def create(self, name: str, path: str, owner: str, dollars: int, days: int, status: str) -> None:  # noqa: PLR0917 - one parameter per thing that is drawn
        body = {"path": path, "owner": owner, "limits": [usd(dollars * USD)], "expires_at": self.until(days)}
        self.send(name, "POST", "/grants", {**body, "status": status})

    @rule(
        name=WHO, path=PATHS, dollars=DOLLARS, days=DAYS | st.none(), over=st.sampled_from([None, 0, 50]), match=MATCH
    )
    def change(self, name: str, path: str, dollars: int, days: int | None, over: int | None, match: Any) -> None:  # noqa: PLR0917 - as above
        name = self.owner_of(path, name) if dollars in MOSTLY_BY_OWNERS else name
        more = {} if days is None else {"expires_at": self.until(days)}
        more |= {} if over is None else {"delegation": {"overcommit_percent": over}}
        self.send(name, "PATCH", f"/grants/{ref(path)}", {"limits": [usd(dollars * USD)], **more}, match)

    @rule(name=WHO, path=PATHS, verb=ON_GRANT, match=MATCH)
    def act(self, name: str, path: str, verb: str, match: Any) -> None:
        if verb != "revoke" or path.count("/") > 1:
            self.send(name, "POST", f"/grants/{ref(path)}/{verb}", {}, match)

    @rule(name=WHO, path=PATHS, days=DAYS)
    def renew(self, name: str, path: str, days: int) -> None:
        self.send(name, "POST", f"/grants/{ref(path)}/renew", {"expires_at": self.until(days)})

    @rule(name=WHO, path=PATHS, owner=WHO, dollars=DOLLARS)
    def split(self, name: str, path: str, owner: str, dollars: int) -> None:
        part = {"name": f"s{secrets.token_hex(2)}", "owner": owner, "amount": dollars * USD}
        self.send(name, "POST", f"/grants/{ref(path)}/split", {"parts": [part]})

    @rule(name=WHO, path=PATHS, to=PATHS, dollars=DOLLARS)
    def transfer(self, name: str, path: str, to: str, dollars: int) -> None:
        self.send(name, "POST", f"/grants/{ref(path)}/transfer", {"to": to, "limit": usd(dollars * USD)})

    @rule(name=WHO, owner=WHO, dollars=DOLLARS, prune=st.booleans())
    def apply(self, name: str, owner: str, dollars: int, prune: bool) -> None:
        child = {"owner": owner, "limits": [{"usd": f"{dollars}.00", "per": "month"}]}
        body = {"manifest": {"version": 1, "grants": {"acme/team/x": child}}, "prune": prune}
        self.send(name, "POST", "/apply", body)

    @rule(name=WHO, path=PATHS, data=st.data(), verb=st.sampled_from(["create", "rotate", "revoke"]))
    def key(self, name: str, path: str, data: Any, verb: str) -> None:
        paths = {row["id"]: row["path"] for row in self.before["grants"].values()}
        keys = sorted(
            self.before["keys"].values(), key=lambda row: (paths[row["grant_id"]], str(row["revoked_at"] is None))
        )
        if verb == "create" or not keys:
            self.send(name, "POST", "/keys", {"grant": path, "name": "k"})
        else:
            number = data.draw(st.integers(0, len(keys) - 1))
            self.send(name, "POST", f"/keys/{keys[number]['id']}/{verb}", {})

    @rule(name=WHO, path=PATHS, to=PATHS, kind=ASKS, dollars=DOLLARS, days=DAYS)
    def ask(self, name: str, path: str, to: str, kind: str, dollars: int, days: int) -> None:  # noqa: PLR0917 - as above
        body: dict[str, Any] = {"grant": path}
        # Mostly the owner, who may ask.
        name = self.owner_of(path, name) if days < 200 else name
        if name not in self.callers:
            return
        if kind == "increase":
            body["limits"] = [usd(dollars * USD)]
        elif kind == "renew":
            body["expires_at"] = self.until(days)
        elif kind == "transfer":
            body = {"source": to, "target": path, "limit": usd(dollars * USD)}
        elif kind == "break-glass":
            body |= {"amount_nanousd": dollars * USD, "ends_at": self.until(1)}
        else:
            body = {"path": path, "owner": name, "limits": [usd(dollars * USD)], "expires_at": self.until(days)}
        self.send(name, "POST", f"/tickets/{kind}", body)

    @rule(data=st.data(), verb=st.sampled_from(["approve", "decline"]), name=st.sampled_from([AUD, FIN, SEC, EVE]))
    def decide_what_is_not_theirs(self, data: Any, verb: str, name: str) -> None:
        """Whoever asked, or somebody who was not asked, tries to decide."""
        waiting = [row for row in self.tickets() if row["state"] == "open"]
        if waiting:
            ticket = waiting[data.draw(st.integers(0, len(waiting) - 1))]
            name = data.draw(st.sampled_from([name, ticket["requester"]]))
            if name in self.callers and name not in ticket["assignees"]:
                self.send(name, "POST", f"/tickets/{ticket['id']}/{verb}", {})

    @rule(data=st.data(), name=WHO, verb=ON_TICKET, to=WHO, match=MATCH)
    def decide(self, data: Any, name: str, verb: str, to: str, match: Any) -> None:
        tickets = self.tickets()
        if tickets:
            ticket = tickets[data.draw(st.integers(0, len(tickets) - 1))]
            asked = [one for one in ticket["assignees"] if one in self.callers]
            name = data.draw(st.sampled_from([name, ticket["requester"], *asked, *asked]))
            if name in self.callers:
                body = {"to": to} if verb == "reassign" else {}
                if verb == "comment":
                    self.callers[name].write("POST", f"/tickets/{ticket['id']}/comment", {"text": "why?"})
                    self.before = look(self.eyes)
                else:
                    self.send(name, "POST", f"/tickets/{ticket['id']}/{verb}", body, match)

    @rule(data=st.data())
    def agree(self, data: Any) -> None:
        """Somebody who is asked says yes, as happens most of the time."""
        waiting = [row for row in self.tickets() if row["state"] == "open"]
        if waiting:
            ticket = waiting[data.draw(st.integers(0, len(waiting) - 1))]
            asked = [one for one in ticket["assignees"] if one in self.callers]
            if asked:
                self.send(data.draw(st.sampled_from(asked)), "POST", f"/tickets/{ticket['id']}/approve", {})

    @rule(name=WHO, person=WHO, role=st.sampled_from(["org_owner", "auditor", "approver", "security"]), path=PATHS)
    def give_role(self, name: str, person: str, role: str, path: str) -> None:
        self.send(name, "POST", "/roles", {"person": person, "role": role, "grant": path})

    @rule(name=WHO, data=st.data())
    def end_role(self, name: str, data: Any) -> None:
        roles = sorted(
            self.before["roles"].values(), key=lambda row: (row["person"], row["role"], str(row["ended_at"]))
        )
        one = roles[data.draw(st.integers(0, len(roles) - 1))]
        if (one["person"], one["grant_id"]) != (ADA, None):
            self.send(name, "POST", f"/roles/{one['id']}/revoke", {})

    @rule(name=WHO, person=st.sampled_from([LEA, TOM, SAM]), successor=st.sampled_from([None, OLGA, EVE]))
    def leave(self, name: str, person: str, successor: str | None) -> None:
        self.send(name, "POST", f"/people/{person}/leave", {"successor": successor})

    @rule()
    def repeat(self) -> None:
        """The same request under the same key does nothing again."""
        if self.last is not None:
            name, method, route, body, match, key, first = self.last
            before = self.before
            again = self.send(name, method, route, body, match, key)
            if first.is_success and again.status_code not in (401, 403):
                assert again.status_code == first.status_code and again.headers["idempotency-replayed"] == "true"
                assert self.before.but() == before.but()

    @rule(hours=st.sampled_from([1, 1, 25, 73, 24 * 14, 24 * 80]))
    def wait(self, hours: int) -> None:
        self.clock.advance(timedelta(hours=hours))
        self.plane.authority.upkeep().round()
        self.plane.authority.renewals_round()
        self.before = look(self.eyes)

    @invariant()
    def children_stay_within_their_parents(self) -> None:
        assert sums_that_exceed(self.before, self.clock.now()) == []

    @invariant()
    def nothing_expired_can_be_spent(self) -> None:
        now = self.clock.now()
        over = [row["path"] for row in self.before["grants"].values() if now >= row["expires_at"]]
        for path in sorted(over)[:2]:
            why = self.callers[ADA].get(f"/grants/{ref(path)}/why", usd=1)
            if why.status_code == 200:
                assert why.json()["verdict"]["passes"] is False, (path, why.json())


@dataclass(frozen=True, slots=True)
class Sent:
    """A request and its answer."""

    name: str
    route: str
    key: str
    answer: httpx.Response

    def __str__(self) -> str:
        return f"{self.name} {self.route}: {self.answer.status_code} {self.answer.text[:300]}"


def judge(sent: Sent, before: Snapshot, after: Snapshot) -> None:
    """What one request changed, against who sent it."""
    context = str(sent)
    assert sent.answer.status_code < 500, context
    noted = after.changed(before, "audit")
    assert {row["actor"] for row in noted if row["outcome"] == "refused"} <= {sent.name}, context
    if sent.answer.status_code == 409 and sent.answer.json()["code"] == "look_again":
        # Not approved, and shown anew: the ticket alone is another.
        assert after.but("audit", "tickets", "events") == before.but("audit", "tickets", "events"), context
        (shown,) = after.changed(before, "tickets")
        assert (shown["state"], shown["approved_by"]) == ("open", []), context
        return
    if not sent.answer.is_success:
        assert [row for row in noted if row["outcome"] == "done"] == [], context
        assert after.but("audit") == before.but("audit"), context
        return
    assert all(row["outcome"] == "done" and row["request_key"] == sent.key for row in noted), context
    told = {(row["subject_kind"], row["subject_id"]) for row in noted}
    for table, kind in AUDITED.items():
        assert {(kind, row["id"]) for row in after.changed(before, table)} <= told, (context, table)
    for row in after.changed(before, "grants"):
        judge_grant(sent, row, before, after)
    for row in after.changed(before, "tickets"):
        judge_ticket(sent, row, before, after)
    judge_the_rest(sent, before, after)


def judge_grant(sent: Sent, row: Row, before: Snapshot, after: Snapshot) -> None:
    """A grant that was written: by its author, who owns it or what is above it; raised from above only."""
    name, route, context = sent.name, sent.route, str(sent)
    written = [one for one in after.changed(before, "revisions") if one["grant_id"] == row["id"]]
    assert len(written) == 1, (context, row["path"])
    if route.endswith("/leave"):
        return
    assert written[0]["changed_by"] == name, context
    if route.startswith("/tickets"):
        # Nothing here is decided ahead: only a yes changes a grant, and `judge_ticket` looks at who says it.
        assert route.endswith("/approve"), context
        return
    assert written[0]["idempotency_key"] == sent.key, context
    old = before["grants"].get(row["id"])
    parent = row["path"].rpartition("/")[0]
    ends = old is not None and row["status"] in ("suspended", "revoked") and usd_of(row) == usd_of(old)
    owners = before.owners_above(parent if old is None else row["path"])
    may = name in owners or before.may_write_all(name, row["path"]) or (ends and before.has_role(name, "security"))
    assert may, context
    if old is not None and "/transfer" not in route:
        raised = any(amount > usd_of(old).get(one, amount) for one, amount in usd_of(row).items())
        above = before.owners_above(parent) if parent else []
        assert not raised or name in above or before.may_write_all(name, row["path"]), context


def judge_ticket(sent: Sent, row: Row, before: Snapshot, after: Snapshot) -> None:
    """A ticket that was written: decided by somebody who stands above, who did not ask, and carried out once."""
    name, context = sent.name, str(sent)
    old = before["tickets"].get(row["id"])
    assert any(one["ticket_id"] == row["id"] for one in after.changed(before, "events")), context
    effects = Counter(
        one["grant_id"] for one in after["revisions"].values() if one["idempotency_key"] == f"ticket:{row['id']}"
    )
    assert all(times == 1 for times in effects.values()), context
    assert not effects or row["state"] == "approved", context
    if sent.route.endswith(("/approve", "/decline")):
        assert old is not None and old["state"] == "open", context
        assert name != old["requester"] and old["requester"] not in row["approved_by"], context
        assert before.may_decide(name, row["path"]), context
    elif sent.route.endswith("/withdraw"):
        assert old is not None and old["requester"] == name and row["state"] == "withdrawn", context
    elif not sent.route.endswith("/leave"):
        assert row["state"] == "open" and (old is not None or row["requester"] == name), context


def judge_the_rest(sent: Sent, before: Snapshot, after: Snapshot) -> None:
    """Keys are their grants' owners' or ended by security, roles are given by owners of the organization, as leaving is."""
    name, context = sent.name, str(sent)
    paths = {row["id"]: row["path"] for row in before["grants"].values()}
    for row in after.changed(before, "keys"):
        path = paths[row["grant_id"]]
        ends = row["revoked_at"] is not None and before.has_role(name, "security")
        assert name in before.owners_above(path) or before.may_write_all(name, path) or ends, context
    if sent.route.endswith("/leave"):
        assert before.may_write_all(name, ""), context
    else:
        changed = after.changed(before, "roles")
        assert all(before.may_write_all(name, paths.get(one["grant_id"], "")) for one in changed), context
        assert name not in READERS or before.owns_anything(name) or before.has_role(name, "org_owner") or not any(
            after.changed(before, table) for table in ("grants", "keys", "revocations") if not sent.route.endswith("/approve")
        ), context  # fmt: skip


@pytest.mark.timeout(max(120, SECONDS * 5))
def test_whatever_is_asked_nobody_exceeds_their_right() -> None:
    """No sequence of calls by any set of roles passes a parent, applies twice, decides for itself or spends what expired."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        seed(SEED)(Organisation),
        settings=settings(
            max_examples=max(2, 8 * SECONDS // 30), stateful_step_count=40, deadline=None, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    # Enough of what was asked succeeded and enough was refused, decisions among it.
    done = {verb for verb, is_done in DONE if is_done}
    assert "approve" in done and len(done & {"change", "split", "apply", "grants", "transfer", "reclaim"}) >= 3, DONE
    assert sum(count for (_, is_done), count in DONE.items() if is_done) * 10 > DONE.total(), DONE
