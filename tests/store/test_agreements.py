"""Cost rules and comparisons from before what is booked took two people."""

from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.types.json import Jsonb

from remit.grants.model import Problem
from remit.ledger.accounting import Bearer, Part, Transfer
from remit.reconcile.comparison import digest_of
from remit.store.connect import opener
from remit.store.migrate import migrate, migrations
from remit.store.postgres_accounting import Posted, PostgresAccounting
from remit.store.postgres_books import PostgresBooks
from remit.store.postgres_cost_rules import PostgresCostRules
from tests.grants.builders import Clock
from tests.leases.trial import Trial, grant, usd
from tests.store.database import AS_A_TEST, empty_database

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
HALF = Transfer(
    id="shared/2026-03/1",
    held_at=MARCH,
    sources=[(Bearer(grant_id="grant_root"), 5)],
    parts=[Part(bearer=Bearer(grant_id="grant_root", tags={"team": "a"}), amount_nanousd=5)],
    rule="shared",
    method="fixed",
    revision=1,
    month="2026-03",
)


def before(monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """A database as the version before left it, and the migrations it lacks."""
    url, known = empty_database(), migrations()
    (two_people,) = [number for number, (name, _) in enumerate(known) if name.startswith("0035")]
    with monkeypatch.context() as patch:
        patch.setattr("remit.store.migrate.migrations", lambda: known[:two_people])
        migrate(url)
    return url, [name for name, _ in known[two_people:]]


def test_comparisons_from_before_are_kept_and_outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they propose is not booked, as nobody knows what the ledger was then; they stay in their order."""
    url, lacks = before(monkeypatch)
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as looking:
        for name in ("rec_b", "rec_a"):
            looking.execute(
                "INSERT INTO reconciliations VALUES (%s, '2026-03-01', 'openai', now(), 'fin', '{}', '[]', 0, 5, 5, 0, 5,"
                " '[1]', '[]', %s, %s)",
                (name, digest_of(b"[1]"), name),
            )
    assert migrate(url) == lacks
    books = PostgresBooks(opener(url, "remit_authority"), Clock(MARCH), "command")
    assert [(one.id, one.accepted) for one in books.listed()] == [("rec_a", []), ("rec_b", [])]
    answer = books.post_proposed("rec_a", digest_of(b"[1]"), by="bo", reason="r", key="k")
    assert isinstance(answer, Problem) and answer.code == "reconciliation_outdated"


def test_what_another_posted_before_is_agreed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A revision that somebody else posted needs nobody more; one that its author posted alone, in whatever spelling, does."""
    url, lacks = before(monkeypatch)
    trial = Trial(url)
    trial.write(grant("root", limits=(usd(10_000),)))
    trial.looking.execute(AS_A_TEST)
    body = Jsonb({"source": {"team": ["x"]}, "method": "even", "targets": []})
    for name, revision in (("shared", 1), ("shared", 2), ("alone", 1)):
        trial.looking.execute(
            "INSERT INTO cost_rule_revisions VALUES (%s, %s, 'f', 'd', %s, false, now(), 'ana@acme.example', 'r')",
            (name, revision, body),
        )
    accounting = PostgresAccounting(trial.care._connect, trial.clock)
    for rule, revision, by in (
        ("shared", 1, "bo@acme.example"),
        ("shared", 2, "Ana@acme.example"),
        ("shared", 2, "cy@acme.example"),
        ("shared", 2, "bo@acme.example"),
        ("alone", 1, "ANA@acme.example"),
    ):
        one = replace(HALF, id=f"{rule}/{revision}/{by}", rule=rule, revision=revision)
        assert isinstance(accounting.post([one], by=by, reason="r", key=one.id, source="command"), Posted)
    assert migrate(url) == lacks
    rules = {one.name: one for one in PostgresCostRules(trial.care._connect).all()}
    assert [(one.revision, one.written_by, one.agreed_by) for one in rules.values()] == [
        (1, "ana@acme.example", None),
        (2, "ana@acme.example", "cy@acme.example"),
    ]
    agreed = trial.looking.execute(
        "SELECT name, revision, agreed_by FROM cost_rule_agreements ORDER BY 1, 2"
    ).fetchall()
    assert agreed == [("shared", 1, "bo@acme.example"), ("shared", 2, "cy@acme.example")]
    trial.close()
