"""Facts read from a real PostgreSQL, the findings in them, and how they are asked for."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from remit.findings.model import Bounds, GrantUse, PeriodUse
from remit.findings.rules import findings
from remit.grants.model import Overdraft
from remit.store.connect import opener
from remit.store.named import query
from remit.store.postgres_findings import PostgresFindings
from tests.leases.trial import START, Trial, grant, usd
from tests.store.database import fresh_database


@pytest.fixture
def trial() -> Iterator[Trial]:
    """A grant that spent 140 of 100 a day, repaid on the next, and one below it that never did anything."""
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(100),), overdraft=Overdraft(max_nanousd=50)))
    made.write(grant("idle", root, limits=(usd(95),), grant_class="experimentation"))
    hold = made.hold(root, 140)
    made.take(hold)
    made.settle(hold.id, 140)
    made.clock.instant += timedelta(days=1)
    made.settle_debt("repay", 40)
    yield made
    made.close()


def test_use_is_read_from_the_buckets_without_what_repaid_a_debt(trial: Trial) -> None:
    """140 on the day of the call, overdraft included; nothing on the day that repaid."""
    facts = PostgresFindings(opener(trial.url, "remit_authority")).facts(trial.clock.now(), START)
    today, yesterday = "2026-03-31T00:00:00+00:00", "2026-03-30T00:00:00+00:00"
    found = {one.start.isoformat(): one.used for one in facts.use["grant_root"].periods}
    assert found == {yesterday: 140, today: 0}
    assert facts.use["grant_root"].last_spent_at == START
    assert facts.use["grant_idle"] == replace(GrantUse(), periods=facts.use["grant_idle"].periods)
    assert all(isinstance(one, PeriodUse) and one.used == 0 for one in facts.use["grant_idle"].periods)


def test_what_is_found_goes_by_all_of_it(trial: Trial) -> None:
    """An open ticket to renew, a reported mismatch, a production entry of an experiment and an owner who left."""
    now = trial.clock.now()
    lab = trial.grants["grant_idle"]
    trial.write(replace(lab, expires_at=now + timedelta(days=3)))
    reader = PostgresFindings(opener(trial.url, "remit_authority"))

    def codes(*left: str) -> set[str]:
        facts = reader.facts(now, now - timedelta(days=30), frozenset(left))
        return {f"{one.code} {one.path}" for one in findings(facts, Bounds(), now)}

    before = {"expires_soon_without_renewal root/idle", "children_near_parent root"}
    assert codes() == before
    assert codes("ana@acme.example") == {*before, "no_active_owner root", "no_active_owner root/idle"}
    trial.authority.execute("SELECT report_to_security(%s, 'grant_idle', '{}')", (now,))
    assert codes() == {*before, "experiment_with_production_tags root/idle"}
    trial.looking.execute(
        "INSERT INTO tickets (id, kind, grant_id, path, requester, assignees, tier, opened_at, due_at, expires_at, reason,"
        " effect, evidence, revision) VALUES ('ticket_1', 'renew', 'grant_idle', 'root/idle', 'a', '{b}', 'small', now(),"
        " now(), now() + interval '1 day', '', '{}', '{}', 1)"
    )
    assert codes() == {"children_near_parent root", "experiment_with_production_tags root/idle"}


def test_no_entry_is_read_that_is_not_asked_for(trial: Trial) -> None:
    """The ledger is reached by its indexes only: what findings cost goes by the number of grants."""
    trial.looking.execute("SET enable_seqscan = off")
    asked = {"since": START, "mismatched_since": START}
    plan = "\n".join(row[0] for row in trial.looking.execute(b"EXPLAIN " + query("findings_use"), asked).fetchall())
    assert "Seq Scan on entries" not in plan, plan
    assert "_grant_id_held_at_idx" in plan
    assert "_grant_id_idx" in plan  # of experiments in production
