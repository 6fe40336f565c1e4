"""Ground for every operation of the API's document: what has ids, and for each a request that has to succeed."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from remit.kernel.ids import new_id
from remit.kernel.money import NANOUSD_PER_USD as USD
from remit.reconcile.comparison import Comparison, Drift, Reconciliation
from remit.store.connect import connect
from remit.testing.vendor_reports.books import BookRow
from remit.testing.vendor_reports.clouds import focus
from tests.api.support import Caller, Plane, ref, usd

DEAD_LETTER = """
WITH one AS (
    INSERT INTO notifications (kind, audience, node_id, period_kind, period_start, body, created_at, next_attempt_at,
                               ticket_id)
    SELECT 'finding', 'owner', id, '', now(), '{}', now(), now(), %(ticket)s FROM grants WHERE path = %(path)s
    RETURNING id)
INSERT INTO deliveries (notification_id, channel, state, next_attempt_at, error, created_at)
SELECT id, %(channel)s, 'dead', now(), 'answered 500', now() FROM one
RETURNING notification_id
"""
FAILED_JOB = """
INSERT INTO remit_jobs.procrastinate_jobs (queue_name, task_name, lock, status, attempts)
VALUES ('remit', 'sync', 'sync:slack', 'failed', 8) RETURNING id
"""
ENTRY = """
INSERT INTO entries (id, kind, amount_nanousd, grant_id, grant_path, node_ids, block_ids, class, owner, tags, vendor,
                     deployment, model_requested, price_source, usage_source, tokens, requests, request_id, operation_id,
                     hold_id, policy_version, decision_id, held_at, recorded_at, periods, billing_month)
SELECT %(id)s, 'usage', 1, g.id, g.path, ARRAY [g.id], '{}', g.class, g.owner, '{}', 'v', 'd', 'm', 'test', 'vendor', 3, 1, 'r',
       'o', %(id)s, 1, 'd', now(), now(), '[]', booked_month(now())
FROM grants AS g WHERE g.path = %(path)s
RETURNING seq
"""
LATER = "2098-06-01T00:00:00Z"
_numbers = count(1)


@dataclass(slots=True)
class Good:
    """What an operation needs to succeed, and who has to ask."""

    body: dict[str, Any] = field(default_factory=dict)
    path: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    by: Caller | None = None


class Ground:
    """A root of the admin's, `team` of a narrow owner below it, and below that whatever a request needs."""

    def __init__(self, plane: Plane) -> None:
        self.plane, self.admin = plane, plane.admin
        self.root = f"doc{next(_numbers)}"
        self.owner_name = f"olga@{self.root}.example"
        self.owner = plane.caller(self.owner_name)
        self.team, self.other = f"{self.root}/team", f"{self.root}/other"
        self.admin.made(self.root, 10**6 * USD)
        self.admin.made(self.team, 10**5 * USD, owner=self.owner_name, expires_at="2098-01-01T00:00:00Z")
        self.admin.made(self.other, 10**5 * USD, owner=self.owner_name, expires_at="2098-01-01T00:00:00Z")
        self.used = self.grant()
        self.key = self.made("/keys", {"grant": self.team, "name": "laptop"})["key"]["id"]

    def made(self, route: str, body: dict[str, Any], by: Caller | None = None) -> dict[str, Any]:
        """What a write answers that has to succeed."""
        answer = (by or self.admin).write("POST", route, {"reason": "ground", **body})
        assert answer.is_success, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def free(self) -> str:
        """A path below the team's that nothing has."""
        return f"{self.team}/g{next(_numbers)}"

    def grant(self, *verbs: str, **more: Any) -> str:
        """A grant of the narrow owner's below the team, after these verbs."""
        path = self.free()
        self.admin.made(path, 10 * USD, owner=self.owner_name, **more)
        for verb in verbs:
            assert self.admin.act(verb, path).is_success
        return path

    def person(self, *, left: bool = False) -> str:
        """Somebody nobody has heard of before."""
        name = f"p{next(_numbers)}@{self.root}.example"
        self.plane.token(name)
        if left:
            self.made(f"/people/{name}/leave", {})
        return name

    def ticket(self) -> str:
        """An open one of the narrow owner's."""
        body = {"grant": self.grant(), "limits": [usd(11 * USD)]}
        return str(self.made("/tickets/increase", body, self.owner)["id"])

    def a_key(self) -> str:
        return str(self.made("/keys", {"grant": self.team, "name": "spare"})["key"]["id"])

    def role(self) -> str:
        return str(self.made("/roles", {"person": self.person(), "role": "auditor", "grant": self.team})["id"])

    def token(self) -> str:
        body = {"purpose": "ground", "ttl_seconds": 3600}
        return str(self.admin.write("POST", "/tokens", body).json()["token"]["id"])

    def revocation(self) -> str:
        return str(self.made("/revocations", {"subject": self.a_key()})["id"])

    def trip(self) -> str:
        """A trip of a grant's breaker, which only a gateway writes."""
        now, grant = self.plane.authority.clock.now(), self.admin.get(f"/grants/{ref(self.grant())}").json()
        body = {
            "id": new_id("trip", now), "grant_id": grant["id"], "scope": "grant",
            "subject": grant["id"], "rule": "calls", "measured": 11, "allowed": 10,
            "calls": 11, "tags": {"feature": "eval"}, "cool_down_seconds": 300, "cool_down_max_seconds": 300,
        }  # fmt: skip
        with connect(self.plane.url, "remit_gateway") as gateway:
            gateway.execute("SELECT trip_breaker(%s, %s::jsonb)", (now, json.dumps(body)))
        return str(body["id"])

    def dead_letter(self) -> int:
        """A notification that a channel did not take."""
        ((made,),) = self.plane.insert(
            DEAD_LETTER, {"path": self.used, "channel": "hook", "ticket": secrets.token_hex(4)}
        )
        return int(made)

    def statement(self) -> str:
        """One whose account is this ground's."""
        row = BookRow(at=datetime(2026, 11, 3, tzinfo=UTC), model="m", used={"input": 5}, account=self.root)
        answer = self.admin.http.post(
            "/statements",
            params={"source": "focus"},
            content=focus([row]),
            headers={"idempotency-key": secrets.token_hex(8)},
        )
        return str(answer.json()["id"])

    def reconciliation(self) -> str:
        """A comparison with one finding."""
        day = date(2026, 10, 1)
        drift = Drift(
            cause="tax",
            outcome="adjustment",
            confidence="exact",
            first_day=day,
            last_day=day,
            about={},
            amount_nanousd=1,
            evidence={},
        )
        one = Comparison(
            month=day,
            vendor=self.root,
            statements=[],
            bills=[],
            ledger_nanousd=0,
            basis="",
            drift=[drift],
            adjustments=[],
        )
        books = self.plane.authority.reconciling().books
        kept = books.keep(one, {}, by="ada@acme.example", reason="document", key=secrets.token_hex(8))
        assert isinstance(kept, Reconciliation), kept
        return kept.id

    def failed_job(self) -> int:
        """A job that is not tried any more."""
        ((made,),) = self.plane.sql(FAILED_JOB)
        return int(made)

    def sealed_entry(self) -> str:
        """An entry in the ledger that was signed."""
        made = f"entry_{secrets.token_hex(8)}"
        self.plane.insert(ENTRY, {"id": made, "path": self.used})
        assert self.plane.authority.sealer().seal() is not None
        return made

    def tag(self) -> str:
        """A governed tag."""
        name = f"tag{next(_numbers)}"
        body = {"owner": self.owner_name, "description": "what for", "values": ["a", "b"], "reason": "ground"}
        assert self.admin.write("PUT", f"/tags/{name}", body).is_success
        return name

    def cost_rule(self) -> str:
        """A rule that divides cost."""
        name = f"rule{next(_numbers)}"
        assert self.admin.write("PUT", f"/cost-rules/{name}", {"reason": "ground", **_cost_rule(self)}).is_success
        return name

    def new_grant(self) -> dict[str, Any]:
        return {
            "path": self.free(),
            "owner": self.owner_name,
            "limits": [usd(USD)],
            "expires_at": "2097-01-01T00:00:00Z",
        }


def _cost_rule(ground: Ground) -> dict[str, Any]:
    source = {"grant": [ground.other]}
    targets = [{"grant": ground.team, "ppm": 1_000_000}]
    return {
        "owner": ground.owner_name,
        "description": "d",
        "source": source,
        "method": "fixed",
        "targets": targets,
    }


def _manifest(ground: Ground) -> dict[str, Any]:
    child = {"owner": ground.owner_name, "class": "production", "expires": "2097-01-01"}
    return {"version": 1, "grants": {ground.free(): {**child, "limits": [{"usd": "1.00", "per": "month"}]}}}


def _soon(ground: Ground) -> str:
    return (ground.plane.authority.clock.now() + timedelta(hours=2)).isoformat()


def _on_grant(*verbs: str, status: str = "active", **body: Any) -> Callable[[Ground], Good]:
    def make(ground: Ground) -> Good:
        return Good(body, {"grant": ref(ground.grant(*verbs, status=status))})

    return make


def _once_sealed(**query: Any) -> Callable[[Ground], Good]:
    def make(ground: Ground) -> Good:
        ground.sealed_entry()
        return Good(query=query)

    return make


def _transfer(ground: Ground) -> Good:
    return Good({"to": ground.grant(), "limit": usd(1)}, {"grant": ref(ground.grant())})


def _split(ground: Ground) -> Good:
    parts = [
        {"name": "x", "owner": ground.owner_name, "amount": 1},
        {"name": "y", "owner": "y@x.example", "percent": 9},
    ]
    return Good({"parts": parts}, {"grant": ref(ground.grant())})


GOOD: dict[tuple[str, str], Callable[[Ground], Good]] = {
    ("GET", "/grants"): lambda on: Good(query={"under": on.team}),
    ("POST", "/grants"): lambda on: Good(on.new_grant()),
    ("GET", "/grants/{grant}"): lambda on: Good(path={"grant": ref(on.team)}),
    ("PATCH", "/grants/{grant}"): _on_grant(limits=[usd(9 * USD)]),
    ("GET", "/grants/{grant}/history"): lambda on: Good(path={"grant": ref(on.used)}),
    ("POST", "/grants/{grant}/activate"): _on_grant(status="requested"),
    ("POST", "/grants/{grant}/suspend"): _on_grant(),
    ("POST", "/grants/{grant}/resume"): _on_grant("suspend"),
    ("POST", "/grants/{grant}/renew"): lambda on: Good(
        {"expires_at": "2097-06-01T00:00:00Z"}, {"grant": ref(on.grant(expires_at="2097-01-01T00:00:00Z"))}
    ),
    ("POST", "/grants/{grant}/revoke"): _on_grant(),
    ("GET", "/grants/{grant}/why"): lambda on: Good(path={"grant": ref(on.used)}, query={"usd": 5}),
    ("POST", "/grants/{grant}/split"): _split,
    ("POST", "/grants/{grant}/transfer"): _transfer,
    ("POST", "/grants/{grant}/reclaim"): _on_grant(limit=usd(1)),
    ("POST", "/apply"): lambda on: Good({"manifest": _manifest(on)}),
    ("GET", "/keys"): lambda on: Good(query={"grant": on.team}),
    ("POST", "/keys"): lambda on: Good({"grant": on.team, "name": "fresh"}),
    ("POST", "/keys/{key}/rotate"): lambda on: Good(path={"key": on.a_key()}),
    ("POST", "/keys/{key}/revoke"): lambda on: Good(path={"key": on.a_key()}),
    ("POST", "/capabilities"): lambda on: Good({"grant": on.team, "purpose": "a run"}),
    ("GET", "/tags"): lambda on: Good(query={"retired": True}),
    ("GET", "/tags/{tag}"): lambda on: Good(path={"tag": on.tag()}),
    ("PUT", "/tags/{tag}"): lambda on: Good(
        {"owner": on.owner_name, "description": "what for", "values": ["a", "c"], "under": on.team}, {"tag": on.tag()}
    ),
    ("POST", "/tags/{tag}/retire"): lambda on: Good({"values": ["a"]}, {"tag": on.tag()}),
    ("POST", "/revocations"): lambda on: Good({"subject": on.a_key()}),
    ("GET", "/revocations/{revocation}"): lambda on: Good(path={"revocation": on.revocation()}),
    ("GET", "/tickets"): lambda on: Good(),
    ("GET", "/tickets/{ticket}"): lambda on: Good(path={"ticket": on.ticket()}),
    ("POST", "/tickets/grant"): lambda on: Good(on.new_grant(), by=on.owner),
    ("POST", "/tickets/renew"): lambda on: Good(
        {"grant": on.grant(expires_at="2097-01-01T00:00:00Z"), "expires_at": "2097-02-01T00:00:00Z"}, by=on.owner
    ),
    ("POST", "/tickets/increase"): lambda on: Good({"grant": on.grant(), "limits": [usd(12 * USD)]}, by=on.owner),
    ("POST", "/tickets/transfer"): lambda on: Good(
        {"source": on.grant(), "target": on.grant(), "limit": usd(1)}, by=on.owner
    ),
    ("POST", "/tickets/break-glass"): lambda on: Good(
        {"grant": on.grant(), "amount_nanousd": 5, "ends_at": _soon(on)}, by=on.owner
    ),
    ("POST", "/tickets/{ticket}/approve"): lambda on: Good(path={"ticket": on.ticket()}),
    ("POST", "/tickets/{ticket}/decline"): lambda on: Good(path={"ticket": on.ticket()}),
    ("POST", "/tickets/{ticket}/withdraw"): lambda on: Good(path={"ticket": on.ticket()}, by=on.owner),
    ("POST", "/tickets/{ticket}/comment"): lambda on: Good({"text": "why?"}, {"ticket": on.ticket()}),
    ("POST", "/tickets/{ticket}/reassign"): lambda on: Good({"to": "ada@acme.example"}, {"ticket": on.ticket()}),
    ("GET", "/debts"): lambda on: Good(query={"settled": True}),
    ("GET", "/findings"): lambda on: Good(),
    ("POST", "/outcomes"): lambda on: Good(
        {
            "source": "zendesk",
            "id": f"e{next(_numbers)}",
            "kind": "ticket_resolved",
            "subject": f"t{next(_numbers)}",
            "status": "success",
            "grant": on.used,
            "time": on.plane.authority.clock.now().isoformat(),
            "tags": {"ticket": "1"},
        }
    ),
    ("GET", "/outcomes"): lambda on: Good(query={"under": on.team, "kind": "ticket_resolved"}),
    ("GET", "/outcomes/report"): lambda on: Good(query={"under": on.team, "by": "grant,model"}),
    ("GET", "/outcomes/compare"): lambda on: Good(query={"kind": "ticket_resolved", "first": "A", "second": "B"}),
    ("GET", "/audit"): lambda on: Good(query={"under": on.team, "outcome": "done"}),
    ("GET", "/reconciliations"): lambda on: Good(query={"month": "2026-10"}),
    ("GET", "/reconciliations/{reconciliation}"): lambda on: Good(path={"reconciliation": on.reconciliation()}),
    ("GET", "/reconciliations/{reconciliation}/findings"): lambda on: Good(
        path={"reconciliation": on.reconciliation()}
    ),
    ("GET", "/months"): lambda on: Good(),
    ("GET", "/statements"): lambda on: Good(query={"current": False}),
    ("POST", "/statements/{statement}/withdraw"): lambda on: Good(
        path={"statement": on.statement()}, body={"reason": "of another account"}
    ),
    ("GET", "/statements/{statement}"): lambda on: Good(path={"statement": on.statement()}),
    ("GET", "/statements/{statement}/lines"): lambda on: Good(path={"statement": on.statement()}, query={"limit": 1}),
    ("GET", "/jobs"): lambda on: Good(query={"in_state": "scheduled"}),
    ("POST", "/jobs/{job}/retry"): lambda on: Good(path={"job": on.failed_job()}),
    ("GET", "/security/feed"): lambda on: Good(),
    ("GET", "/trips"): lambda on: Good(),
    ("POST", "/trips/{trip}/end"): lambda on: Good(path={"trip": on.trip()}),
    ("GET", "/ledger/report"): lambda on: Good(query={"under": on.used, "by": "team,model"}),
    ("GET", "/ledger/entries"): lambda on: Good(query={"under": on.used}),
    ("GET", "/ledger/focus"): lambda on: Good(query={"month": "2026-11", "dataset": "billing-period"}),
    ("GET", "/ledger/checkpoint"): _once_sealed(),
    ("GET", "/ledger/proofs/inclusion"): lambda on: Good(query={"entry": on.sealed_entry()}),
    ("GET", "/ledger/proofs/consistency"): _once_sealed(from_size=1, to_size=1),
    ("GET", "/ledger/total"): lambda on: Good(query={"under": on.used, "period": "year"}),
    ("GET", "/ledger/forecast"): lambda on: Good(query={"under": on.used, "by": "model"}),
    ("GET", "/ledger/units"): lambda on: Good(query={"under": on.used, "by": "team,model"}),
    ("GET", "/ledger/coverage"): lambda on: Good(query={"under": on.used, "tags": "team"}),
    ("GET", "/ledger/budget"): lambda on: Good(query={"under": on.used}),
    ("GET", "/cost-rules"): lambda on: Good(),
    ("GET", "/cost-rules/{rule}"): lambda on: Good(path={"rule": on.cost_rule()}),
    ("PUT", "/cost-rules/{rule}"): lambda on: Good(_cost_rule(on), {"rule": on.cost_rule()}),
    ("POST", "/cost-rules/{rule}/retire"): lambda on: Good(path={"rule": on.cost_rule()}),
    ("GET", "/cost-rules/{rule}/preview"): lambda on: Good(path={"rule": on.cost_rule()}, query={"month": "2026-10"}),
    ("POST", "/cost-rules/{rule}/post"): lambda on: Good({"month": "2026-10"}, {"rule": on.cost_rule()}),
    ("GET", "/doctor"): lambda on: Good(),
    ("GET", "/gateways"): lambda on: Good(),
    ("GET", "/notifications"): lambda on: Good(),
    ("GET", "/roles"): lambda on: Good(query={"person": on.owner_name}),
    ("POST", "/roles"): lambda on: Good({"person": on.person(), "role": "finance", "grant": on.team}),
    ("POST", "/roles/{role}/revoke"): lambda on: Good(path={"role": on.role()}),
    ("GET", "/people"): lambda on: Good(),
    ("POST", "/people/{person}/leave"): lambda on: Good({"successor": on.owner_name}, {"person": on.person()}),
    ("POST", "/people/{person}/return"): lambda on: Good(path={"person": on.person(left=True)}),
    ("POST", "/people/{person}/delegate"): lambda on: Good(
        {"delegate": on.person(), "until": LATER}, {"person": on.owner_name}, by=on.owner
    ),
    ("GET", "/tokens"): lambda on: Good(),
    ("POST", "/tokens"): lambda on: Good({"purpose": "to read", "ttl_seconds": 60}),
    ("POST", "/tokens/{token}/revoke"): lambda on: Good(path={"token": on.token()}),
    ("GET", "/notifications/dead"): lambda on: Good(),
    ("POST", "/notifications/{notification}/retry"): lambda on: Good(path={"notification": on.dead_letter()}),
    ("GET", "/health"): lambda on: Good(),
}
# What cannot succeed here, and where it does.
NEVER_GOOD: dict[tuple[str, str], str] = {
    ("POST", "/reconciliations"): "takes a root that bears what none explains: tests/api/test_reconciling.py",
    ("POST", "/reconciliations/{reconciliation}/post"): "takes what is to be booked: tests/api/test_reconciling.py",
    ("POST", "/months/{month}/close"): "closes the books for everybody: tests/api/test_reconciling.py",
    ("POST", "/months/{month}/reopen"): "takes a closed month: tests/api/test_reconciling.py",
    ("POST", "/statements"): "takes a vendor's file: tests/api/test_statements.py",
    ("POST", "/token"): "takes an issuer: tests/workloads/test_exchange.py",
    ("GET", "/sign-in"): "takes a provider: tests/people/test_sign_in.py",
    ("GET", "/sign-in/callback"): "takes a provider: tests/people/test_sign_in.py",
    ("POST", "/hooks/{kind}"): "takes a signature: tests/api/test_hooks.py",
}
