"""What each role cannot do, tried on a real server; a superuser can switch triggers off, and no test forbids it."""

from collections.abc import Iterator

import psycopg
import pytest

from remit.store.connect import Role, connect
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

TABLES = (
    "tree_state", "grants", "grant_revisions", "answers", "issuer_keys", "access_keys", "buckets", "replaced_buckets",
    "holds", "entries", "notifications", "people_tokens", "capability_blocks", "used_proofs", "revocations", "gateways",
    "tickets", "ticket_events", "graces", "break_glasses", "people", "role_bindings",
    "trips", "trip_ends", "security_attempts", "channels", "deliveries", "ticket_threads", "heard", "audit",
    "job_migrations", "books", "rollup_series", "rollup_hours", "rollup_days", "rollup_state", "month_events",
    "reconciliations", "drift", "reconciliation_postings",
    "outcomes", "outcome_events", "outcome_joins",
    "ledger_tiles", "ledger_seals", "ledger_checkpoints",
    "statements", "statement_lines", "statement_raw", "statement_withdrawals",
    "tag_revisions", "cost_rule_revisions", "cost_rule_agreements",
    "segments", "ledger_partitions", "legal_holds", "expired_months",
    "sinks", "sink_letters", "export_files",
)  # fmt: skip
READABLE: dict[Role, set[str]] = {
    # revocations: not who, why and whose
    "remit_gateway": {"tree_state", "grants", "issuer_keys", "access_keys", "revocations", "trips", "trip_ends",
                      "governed_tags"},  # tags: not who changed them and why
    "remit_reader": {"tree_state", "grants", "grant_revisions", "issuer_keys", "buckets", "holds", "entries",
                     "notifications", "capability_blocks", "revocations", "gateways", "tickets", "ticket_events",
                     "graces", "break_glasses", "people", "role_bindings", "trips", "trip_ends", "security_attempts",
                     "channels", "deliveries", "ticket_threads", "audit", "books", "postings",
                     "rollup_series", "rollup_hours", "rollup_days", "rollup_state", "entry_facts", "month_events",
                     "billing_months", "reconciliations", "drift", "reconciliation_postings",
                     "outcomes", "outcome_events", "outcome_joins", "ledger_tiles", "ledger_seals",
                     "ledger_checkpoints", "statements", "statement_lines", "statement_withdrawals", "tag_revisions", "tag_names",
                     "governed_tags", "cost_rule_revisions", "cost_rule_agreements", "cost_rules", "segments",
                     "ledger_partitions", "legal_holds", "expired_months", "dropped_sums",
                     "sinks", "sink_letters", "export_files"},
    "remit_authority": {*TABLES, "postings", "entry_facts", "billing_months", "tag_names", "governed_tags", "cost_rules",
                        "dropped_sums"} - {"replaced_buckets", "used_proofs"},
}  # fmt: skip
INSERTABLE: dict[Role, set[str]] = {
    "remit_gateway": set(),
    "remit_reader": set(),
    "remit_authority": {"grants", "grant_revisions", "answers", "issuer_keys", "access_keys", "people_tokens",
                        "capability_blocks", "revocations", "notifications", "tickets", "ticket_events", "graces",
                        "break_glasses", "people", "role_bindings", "trip_ends", "channels", "deliveries",
                        "ticket_threads", "heard", "reconciliations", "drift", "reconciliation_postings",
                        "outcomes", "outcome_events", "outcome_joins",
                        "ledger_tiles", "ledger_seals", "ledger_checkpoints",
                        "statements", "statement_lines", "statement_raw", "statement_withdrawals", "tag_revisions", "cost_rule_revisions",
                        "cost_rule_agreements", "legal_holds",
                        "sinks", "sink_letters", "export_files"},
}  # fmt: skip
UPDATABLE: dict[Role, set[str]] = {
    "remit_gateway": set(),
    "remit_reader": set(),
    # notifications: only the columns about delivery; role_bindings: legal_holds, expired_months: only their end; ledger_tiles: only to append hashes
    "remit_authority": {"grants", "issuer_keys", "access_keys", "people_tokens", "notifications", "tickets",
                        "break_glasses", "people", "role_bindings", "deliveries", "ticket_threads", "heard",
                        "ledger_tiles", "legal_holds", "expired_months", "sinks", "sink_letters", "export_files"},
}  # fmt: skip
CALLABLE: dict[Role, set[str]] = {
    "remit_gateway": {"take_holds", "finish_holds", "abandon_hold", "report_to_security", "acknowledge",
                      "forget_gateway", "trip_breaker", "note_attempts"},
    "remit_reader": {"ledger_sum", "repaid_sum", "is_spend", "is_charged", "hash_of", "audit_hash_of", "audited_form",
                     "booked_month", "dims_of", "carried_into", "used_in", "booked_in", "open_suspense", "charged_in", "meets", "is_dropped",
                     "dropped_sum"},
    "remit_authority": {
        "take_holds", "finish_holds", "abandon_hold", "report_to_security", "ledger_sum", "is_spend", "hash_of",
        "lock_tree", "align_grant", "apply_evidence", "expire_holds", "page_forecasts", "drop_spent_rate_buckets",
        "drop_spent_blocks", "settle_debt", "return_overpaid", "repaid_sum", "audit_refusal", "audit_deed",
        "audit_hash_of", "audited_form", "prices_moved", "is_charged", "booked_month", "post_entries", "settled_seq",
        "fold_entries", "dims_of", "carried_into", "used_in", "booked_in", "open_suspense", "close_month", "reopen_month",
        "charged_in", "meets", "is_dropped", "dropped_sum", "ensure_partitions", "archivable_seq", "record_segment",
        "sum_partition", "drop_partition", "expire_month",
    },
}  # fmt: skip
ROLES: tuple[Role, ...] = ("remit_gateway", "remit_reader", "remit_authority")
PEOPLE = ("remit_engineering", "remit_finance", "remit_security")


@pytest.fixture(scope="module")
def url() -> str:
    """A database with a bucket, a hold that was settled and one that is open."""
    made = fresh_database()
    trial = Trial(made)
    root = trial.write(grant("root", limits=(usd(100),)))
    first, second = trial.hold(root, 10), trial.hold(root, 20)
    assert trial.take(first, second) == [True, True]
    assert trial.settle(first.id, 10) == "settled"
    trial.close()
    return made


@pytest.fixture
def owner(url: str) -> Iterator[psycopg.Connection]:
    """The superuser's connection."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as connection:
        yield connection


def rights(connection: psycopg.Connection, role: Role, right: str) -> set[str]:
    """The tables on which a role has a right, on the whole or on a column."""
    return {
        row[0]
        for row in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'remit'::regnamespace AND relkind IN ('r', 'v', 'm', 'p')"
            " AND (has_table_privilege(%(role)s, oid, %(right)s)"
            "      OR %(right)s IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege(%(role)s, oid, %(right)s))",
            {"role": role, "right": right},
        ).fetchall()
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_the_rights_it_needs_and_no_others(owner: psycopg.Connection, role: Role) -> None:
    """Per table and right, and per function, exactly what is listed here."""
    assert rights(owner, role, "SELECT") == READABLE[role]
    assert rights(owner, role, "INSERT") == INSERTABLE[role]
    assert rights(owner, role, "UPDATE") == UPDATABLE[role]
    for right in ("DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"):
        assert rights(owner, role, right) == set()
    callable_ = owner.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'remit'::regnamespace"
        " AND has_function_privilege(%s, oid, 'EXECUTE')",
        (role,),
    ).fetchall()
    assert {row[0] for row in callable_} == CALLABLE[role]


@pytest.mark.parametrize("role", PEOPLE)
def test_people_have_no_right_in_this_schema(owner: psycopg.Connection, role: str) -> None:
    """Who reads the views has no table here, and one function, which is pure and which they cannot name."""
    for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"):
        assert rights(owner, role, right) == set()  # type: ignore[arg-type]
    callable_ = owner.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'remit'::regnamespace"
        " AND has_function_privilege(%s, oid, 'EXECUTE')",
        (role,),
    ).fetchall()
    assert callable_ == [("is_charged",)]
    assert owner.execute("SELECT has_schema_privilege(%s, 'remit', 'USAGE')", (role,)).fetchone() == (False,)


def test_public_has_nothing(owner: psycopg.Connection) -> None:
    """A login that was given no role sees nothing and can call nothing."""
    owner.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger")
    try:
        for right in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"):
            assert rights(owner, "stranger", right) == set()  # type: ignore[arg-type]
        (count,) = owner.execute(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'remit'::regnamespace"
            " AND has_function_privilege('stranger', oid, 'EXECUTE')"
        ).fetchone() or (None,)
        assert count == 0
    finally:
        owner.execute("DROP ROLE stranger")


FORBIDDEN = [
    "UPDATE entries SET amount_nanousd = 0",
    "DELETE FROM entries",
    "TRUNCATE entries",
    "INSERT INTO entries (id) VALUES ('entry_mine')",
    "UPDATE buckets SET posted = 0",
    "UPDATE buckets SET target = 1000000",
    "DELETE FROM buckets",
    "INSERT INTO buckets SELECT * FROM buckets",
    "UPDATE holds SET state = 'voided'",
    "INSERT INTO holds SELECT * FROM holds",
    "DELETE FROM holds",
    "UPDATE tree_state SET revision = 1",
    "UPDATE grant_revisions SET reason = ''",
    "DELETE FROM grants",
    "DELETE FROM access_keys",
    "UPDATE revocations SET keep_until = now()",
    "DELETE FROM revocations",
    "UPDATE gateways SET acknowledged_revision = 1000000",
    "INSERT INTO gateways SELECT * FROM gateways",
    "SELECT align_buckets('[]')",
    "SELECT append_entry(NULL::holds, '{}', '', now())",
    "SELECT lock_holds('{}')",
    "SELECT append_settlement('x', 'day', 'repayment', -1, '[]', '{}', '', now(), now())",
    "ALTER TABLE entries DISABLE TRIGGER ALL",
    "DROP TRIGGER entries_append_only ON entries",
    "CREATE TABLE remit.mine (id int)",
    "SET session_replication_role = replica",
    "COPY entries FROM '/dev/null'",
    "UPDATE statements SET amount_nanousd = 0",
    "DELETE FROM statement_lines",
    "UPDATE statement_raw SET packed = ''",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
@pytest.mark.parametrize("role", ROLES)
def test_what_is_forbidden_fails(url: str, role: Role, statement: str) -> None:
    """Each of these is refused for want of a right, whichever process tries it."""
    with connect(url, role) as connection:
        # What the superuser behind the connection may do is not what its role may do.
        connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("remit_reader", "SELECT * FROM access_keys"),
        ("remit_reader", "SELECT * FROM answers"),
        ("remit_reader", "SELECT * FROM people_tokens"),
        ("remit_reader", "SELECT packed FROM statement_raw"),
        ("remit_gateway", "SELECT * FROM statements"),
        ("remit_reader", "SELECT take_holds(1, now(), '[]')"),
        ("remit_reader", "SELECT finish_holds(now(), '[]')"),
        ("remit_reader", "SELECT lock_tree(true)"),
        ("remit_gateway", "SELECT * FROM holds"),
        ("remit_gateway", "SELECT * FROM buckets"),
        ("remit_gateway", "SELECT * FROM entries"),
        ("remit_gateway", "SELECT * FROM people_tokens"),
        ("remit_gateway", "SELECT reason FROM revocations"),
        ("remit_gateway", "SELECT * FROM gateways"),
        ("remit_gateway", "INSERT INTO revocations (id) VALUES ('rev_mine')"),
        ("remit_authority", "SELECT acknowledge('gw_mine', 'mine', 1)"),
        ("remit_authority", "SELECT forget_gateway('gw_mine')"),
        ("remit_reader", "INSERT INTO revocations (id) VALUES ('rev_mine')"),
        ("remit_gateway", "SELECT align_grant('x', now(), '[]')"),
        ("remit_gateway", "SELECT expire_holds(now(), 1)"),
        ("remit_gateway", "SELECT apply_evidence(now(), '[]')"),
        ("remit_gateway", "SELECT lock_tree(true)"),
        ("remit_gateway", "SELECT settle_debt(now(), 'x', 'day', 1, 'forgive', 'me', '', 'k', 1, NULL)"),
        ("remit_gateway", "UPDATE grants SET status = 'active'"),
        ("remit_gateway", "INSERT INTO access_keys SELECT * FROM access_keys"),
        ("remit_authority", "UPDATE notifications SET body = '{}'"),
        ("remit_authority", "UPDATE answers SET answer = '{}'"),
    ],
)
def test_a_process_has_only_its_own_part(url: str, role: Role, statement: str) -> None:
    """What one process does another cannot."""
    with connect(url, role) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement.encode())


@pytest.mark.parametrize("table", ["entries", "grant_revisions", "revocations"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
@pytest.mark.parametrize("role", ["remit_owner", None])
def test_history_is_not_even_the_owners(
    owner: psycopg.Connection, table: str, statement: str, role: str | None
) -> None:
    """With every right there is, as owner and as superuser, entries and revisions are neither changed nor removed."""
    if role is not None:
        owner.execute(f"SET ROLE {role}".encode())
    column = "kind" if table == "entries" else "reason"
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="append-only"):
        owner.execute(statement.format(table, column, column).encode())


def test_functions_that_run_as_owner_are_closed_to_tricks(owner: psycopg.Connection) -> None:
    """Each function with the owner's rights fixes its search path, the temporary schema last."""
    rows = owner.execute(
        "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'remit'::regnamespace AND prosecdef"
    ).fetchall()
    assert len(rows) >= 8
    for name, settings in rows:
        assert "search_path=remit, pg_temp" in (settings or []), name


def test_a_tampered_entry_is_found(url: str) -> None:
    """Whoever gets around everything (a superuser with triggers off) is found out by the hash."""
    trial = Trial(fresh_database())
    root = trial.write(grant("root"))
    hold = trial.hold(root, 10)
    trial.take(hold)
    trial.settle(hold.id, 10)
    trial.looking.execute("SET session_replication_role = replica")
    trial.looking.execute("UPDATE entries SET owner = 'mallory@acme.example'")
    differences = {check.name: check.differences for check in trial.ledger.checks()}
    assert len(differences["hashes"]) == 1
    trial.close()
