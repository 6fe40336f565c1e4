"""The audit is a part of every change: written by its transaction, by nobody afterwards, and by nobody unnamed."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from remit.api.people import NewPerson, PeopleService
from remit.grants.model import Problem, ProblemsError
from remit.grants.ports import Said
from remit.store import migrate
from remit.store.authored import record_deed, say, say_unless_said, written_as
from remit.store.connect import connect, opener
from remit.store.postgres_audit import PostgresAudit
from remit.store.postgres_people import PostgresPeople
from remit.store.postgres_writes import PostgresWrites, WriteUnit
from remit.testing.clock import ManualClock
from tests.store.database import AS_A_TEST, empty_database, fresh_database

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ADA = Said(at=NOON, actor="ada@acme.example", operation="person join", reason="hired", request_key="key-1")
JOIN = "INSERT INTO people (name, id, source, created_at, created_by) VALUES (%s, %s, 'command', now(), 'x')"


@pytest.fixture(scope="module")
def url() -> str:
    return fresh_database()


@pytest.fixture
def authority(url: str) -> Iterator[psycopg.Connection]:
    with connect(url, "remit_authority") as connection:
        yield connection


@pytest.fixture
def audit(url: str) -> PostgresAudit:
    return PostgresAudit(opener(url, "remit_authority"))


def test_nobody_writes_unnamed(url: str, authority: psycopg.Connection) -> None:
    """What is audited cannot be written without having said by whom, not even by the superuser."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody said who"):
        authority.execute(JOIN, ("a@a.example", "a"))
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as owner:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody said who"):
            owner.execute(JOIN, ("a@a.example", "a"))
        tables = owner.execute(
            "SELECT tgrelid::regclass::text FROM pg_trigger WHERE tgfoid IN ('audit_change'::regproc, 'audit_revision'::regproc)"
        )
        assert {row[0] for row in tables.fetchall()} == {
            "grants", "access_keys", "issuer_keys", "people", "people_tokens", "role_bindings", "tickets", "revocations",
            "trip_ends", "capability_blocks", "tag_revisions", "cost_rule_revisions", "legal_holds",
        }  # fmt: skip


def test_who_wrote_holds_for_one_transaction(authority: psycopg.Connection) -> None:
    """The next transaction of the same connection is nobody's again."""
    with authority.transaction():
        say(authority, ADA, "api")
        authority.execute(JOIN, ("once@a.example", "once"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        authority.execute(JOIN, ("twice@a.example", "twice"))
    with pytest.raises(AssertionError, match="outside a transaction"):
        say(authority, ADA, "api")


def test_a_change_says_what_was_before_and_after(authority: psycopg.Connection, audit: PostgresAudit) -> None:
    """One row for each change, with its author, why, by which door; a write that changes nothing has none."""
    with authority.transaction():
        say(authority, ADA, "api")
        authority.execute(JOIN, ("bo@a.example", "bo"))
        authority.execute("UPDATE people SET manager = 'once@a.example' WHERE id = 'bo'")
        authority.execute("UPDATE people SET manager = 'once@a.example' WHERE id = 'bo'")
    made, changed = audit.page(10, subject="bo@a.example")
    for row in (made, changed):
        assert (row["actor"], row["reason"], row["request_key"], row["source"]) == (ADA.actor, "hired", "key-1", "api")
        assert (row["at"], row["outcome"], row["subject_kind"]) == (NOON, "done", "person")
    assert (made["before"], made["after"]["manager"]) == (None, None)
    assert changed["before"] == made["after"]
    assert changed["after"] == {**made["after"], "manager": "once@a.example"}


def test_a_change_that_is_undone_leaves_no_row(authority: psycopg.Connection, audit: PostgresAudit) -> None:
    """The row and the change stand or fall together, and a part that is undone takes its author with it."""
    with authority.transaction():
        say(authority, ADA, "api")
        authority.execute(JOIN, ("cy@a.example", "cy"))
        raise psycopg.Rollback
    assert audit.page(10, subject="cy@a.example") == []
    other = Said(at=NOON, actor="eve@acme.example", operation="grant renew", reason="inside the envelope")
    with authority.transaction():
        say(authority, ADA, "api")
        with pytest.raises(RuntimeError), written_as(authority, other):
            raise RuntimeError
        authority.execute(JOIN, ("di@a.example", "di"))
        with written_as(authority, other):
            authority.execute(JOIN, ("ed@a.example", "ed"))
        say_unless_said(authority, other, "command")
        authority.execute(JOIN, ("fy@a.example", "fy"))
    rows = {row["subject_id"]: row for row in audit.page(10)}
    assert [rows[f"{who}@a.example"]["actor"] for who in ("di", "ed", "fy")] == [ADA.actor, other.actor, ADA.actor]
    ed = rows["ed@a.example"]
    assert (ed["operation"], ed["reason"], ed["request_key"]) == ("person join", "inside the envelope", "key-1")


def test_no_secret_is_in_the_audit(url: str, audit: PostgresAudit) -> None:
    """A token's row has neither its hash nor anything else of its secret."""
    clock = ManualClock(NOON)
    made = PeopleService(PostgresPeople(opener(url, "remit_authority")), clock, lambda n: b"\xab" * n).create(
        "gil@a.example", "ada@acme.example"
    )
    assert isinstance(made, NewPerson)
    (row,) = audit.page(10, subject=made.person.id)
    assert "secret_hash" not in row["after"] and row["actor"] == "ada@acme.example"
    assert made.text[16:] not in str(row) and made.person.secret_hash.hex() not in str(row)


def test_a_refused_write_is_kept_with_why(url: str, audit: PostgresAudit) -> None:
    """Nothing of it stays but that it was tried, however it was refused, and however odd what was asked is."""
    writes = PostgresWrites(opener(url, "remit_authority"), ManualClock(NOON), "api")
    asked = {
        "operation": "key revoke",
        "actor": "eve@a.example",
        "reason": "\0why",
        "key": "\0" + "x" * 9_000,
    }
    problem = Problem(code="unknown_key", path="", detail="there is no access key `\0`")

    def answered(unit: WriteUnit) -> Problem:
        unit.roster.put("hal@a.example", "hal", "command", "eve@a.example", NOON)
        return problem

    def raised(unit: WriteUnit) -> Problem:
        answered(unit)
        raise ProblemsError([problem])

    assert writes.once("k1", {**asked, "reason": "x", "key": "a"}, answered) == problem
    with pytest.raises(ProblemsError):
        writes.once("k2", {**asked, "reason": "x"}, raised)
    rows = audit.page(10, actor="EVE@a.example")
    assert [(row["outcome"], row["subject_kind"], row["problems"][0]["code"]) for row in rows] == [
        ("refused", "key", "unknown_key")
    ] * 2
    assert rows[1]["subject_id"].startswith("?x") and len(rows[1]["subject_id"]) == 2_000
    assert (rows[0]["request_key"], rows[0]["before"], rows[0]["after"]) == ("k1", None, None)


def test_the_audit_is_only_appended_to(url: str, authority: psycopg.Connection) -> None:
    """No role changes or removes a row, nor adds one by hand; for the superuser a trigger refuses it."""
    for statement in (
        "UPDATE audit SET actor = 'x'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit DEFAULT VALUES",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            authority.execute(statement.encode())
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as owner:
        for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
                owner.execute(statement.encode())
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="nobody said who"):
        record_deed(authority, "debt", "x", None, {})


def test_the_doctor_sees_what_the_audit_does_not_account_for() -> None:
    """A row that was altered, a thing that changed and one that came without a row, past all triggers."""
    url = fresh_database()
    audit = PostgresAudit(opener(url, "remit_authority"))
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as owner:
        owner.execute(AS_A_TEST)
        owner.execute(JOIN, ("one@a.example", "one"))
        owner.execute(JOIN, ("two@a.example", "two"))
        assert audit.check().differences == ()
        assert audit.check().examined == 4
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE people SET source = 'scim' WHERE id = 'one'")
        owner.execute(JOIN, ("six@a.example", "six"))
        owner.execute("UPDATE audit SET reason = 'as agreed' WHERE subject_id = 'two@a.example'")
    found = {one.subject: one.found for one in audit.check().differences}
    assert found.pop("person one@a.example") == "another source"
    assert found.pop("person six@a.example") == "nothing in the audit"
    ((subject, _),) = found.items()
    assert subject.startswith("audit row ")


def test_what_was_there_before_the_audit_is_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of an earlier version begins its audit with what it holds, by nobody's name."""
    url, whole = empty_database(), migrate.migrations()
    monkeypatch.setattr(migrate, "migrations", lambda: [one for one in whole if one[0] < "0021"])
    migrate.migrate(url)
    with psycopg.connect(url, autocommit=True, options="-c search_path=remit") as owner:
        owner.execute(JOIN, ("old@a.example", "old"))
    monkeypatch.setattr(migrate, "migrations", lambda: whole)
    migrate.migrate(url)
    audit = PostgresAudit(opener(url, "remit_authority"))
    (row,) = audit.page(10)
    assert (row["operation"], row["actor"], row["subject_id"]) == ("audit begins", "remit", "old@a.example")
    assert audit.check().differences == ()
