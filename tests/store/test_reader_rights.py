"""People's logins have raw SQL: nothing but their rights keeps them from writing, stopping, or reading what is others'."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from remit.kernel.clock import SystemClock
from remit.store.closing import open_to_readers
from remit.store.migrate import migrate
from remit.store.postgres_readers import NewLogin, PostgresReaders
from remit.store.read_only_sql import Limits, ask
from tests.leases.trial import Trial, grant, usd
from tests.store.database import fresh_database

# Volatile functions that a reader may call: chance, time and settings of the session; what asks for a right or an attribute itself;
# and what says how the server fares. Whoever adds one says why it cannot hurt.
HARMLESS = {
    "array_sample", "array_shuffle", "clock_timestamp", "current_query", "gen_random_uuid", "random", "random_normal",
    "set_config", "setseed", "timeofday", "uuidv4", "uuidv7",
    "currval", "lastval", "nextval", "pg_cancel_backend", "pg_terminate_backend", "setval",
    "amvalidate", "pg_available_wal_summaries", "pg_collation_actual_version", "pg_control_checkpoint", "pg_control_init",
    "pg_control_recovery", "pg_control_system", "pg_current_wal_flush_lsn", "pg_current_wal_insert_lsn", "pg_current_wal_lsn",
    "pg_database_collation_actual_version", "pg_database_size", "pg_get_loaded_modules", "pg_get_multixact_members",
    "pg_get_sequence_data", "pg_get_wait_events", "pg_get_wal_replay_pause_state", "pg_get_wal_resource_managers",
    "pg_get_wal_summarizer_state", "pg_indexes_size", "pg_is_in_recovery", "pg_is_wal_replay_paused", "pg_jit_available",
    "pg_last_committed_xact", "pg_last_wal_receive_lsn", "pg_last_wal_replay_lsn", "pg_last_xact_replay_timestamp",
    "pg_lock_status", "pg_notification_queue_usage", "pg_partition_ancestors", "pg_partition_tree", "pg_prepared_xact",
    "pg_relation_size", "pg_sequence_last_value", "pg_stat_clear_snapshot", "pg_stat_force_next_flush",
    "pg_stat_get_backend_io", "pg_stat_get_backend_wal", "pg_stat_get_io", "pg_stat_get_recovery_prefetch",
    "pg_stat_get_xact_blocks_fetched", "pg_stat_get_xact_blocks_hit", "pg_stat_get_xact_function_calls",
    "pg_stat_get_xact_function_self_time", "pg_stat_get_xact_function_total_time", "pg_stat_get_xact_numscans",
    "pg_stat_get_xact_tuples_deleted", "pg_stat_get_xact_tuples_fetched", "pg_stat_get_xact_tuples_hot_updated",
    "pg_stat_get_xact_tuples_inserted", "pg_stat_get_xact_tuples_newpage_updated", "pg_stat_get_xact_tuples_returned",
    "pg_stat_get_xact_tuples_updated", "pg_table_size", "pg_tablespace_size", "pg_total_relation_size",
    "pg_wal_summary_contents", "pg_xact_commit_timestamp", "pg_xact_commit_timestamp_origin", "pg_xact_status", "txid_status",
    "brin_desummarize_range", "brin_summarize_new_values", "brin_summarize_range", "currtid2", "gin_clean_pending_list",
    "pg_clear_attribute_stats", "pg_clear_relation_stats", "pg_extension_config_dump", "pg_import_system_collations",
    "pg_nextoid", "pg_restore_attribute_stats", "pg_restore_relation_stats", "pg_stop_making_pinned_objects",
    "binary_upgrade_add_sub_rel_state", "binary_upgrade_create_empty_extension", "binary_upgrade_logical_slot_has_caught_up",
    "binary_upgrade_replorigin_advance", "binary_upgrade_set_missing_value", "binary_upgrade_set_next_array_pg_type_oid",
    "binary_upgrade_set_next_heap_pg_class_oid", "binary_upgrade_set_next_heap_relfilenode",
    "binary_upgrade_set_next_index_pg_class_oid", "binary_upgrade_set_next_index_relfilenode",
    "binary_upgrade_set_next_multirange_array_pg_type_oid", "binary_upgrade_set_next_multirange_pg_type_oid",
    "binary_upgrade_set_next_pg_authid_oid", "binary_upgrade_set_next_pg_enum_oid", "binary_upgrade_set_next_pg_tablespace_oid",
    "binary_upgrade_set_next_pg_type_oid", "binary_upgrade_set_next_toast_pg_class_oid",
    "binary_upgrade_set_next_toast_relfilenode", "binary_upgrade_set_record_init_privs",
    "pg_copy_logical_replication_slot", "pg_copy_physical_replication_slot", "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot", "pg_drop_replication_slot", "pg_logical_slot_get_binary_changes",
    "pg_logical_slot_get_changes", "pg_logical_slot_peek_binary_changes", "pg_logical_slot_peek_changes",
    "pg_replication_slot_advance", "pg_sync_replication_slots",
}  # fmt: skip


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    made = Trial(fresh_database())
    root = made.write(grant("root", limits=(usd(100),)))
    hold = made.hold(root, 10)
    assert made.take(hold) == [True] and made.settle(hold.id, 7) == "settled"
    migrate(made.url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def kim(trial: Trial) -> NewLogin:
    """A login of finance, with which somebody hostile tries what there is."""
    return PostgresReaders(trial.url, trial.clock).make("finance", "kim", actor="ada@acme.example", reason="")


def as_kim(kim: NewLogin, statement: str) -> list[tuple[object, ...]]:
    """The statement in a session that may write, as far as the login is concerned, with any time it wants."""
    with psycopg.connect(kim.url, password=kim.password, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off; SET statement_timeout = 0")
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_what_a_reader_may_call_is_known(trial: Trial) -> None:
    """Of all functions that do more than compute, exactly these; what a newer server brings is closed, or shows here."""
    rows = trial.looking.execute(
        "SELECT DISTINCT p.proname FROM pg_proc AS p"
        " WHERE p.provolatile = 'v' AND p.prorettype <> 'trigger'::regtype AND 'internal'::regtype <> ALL (p.proargtypes)"
        " AND p.proname !~ '^plpgsql_' AND has_schema_privilege('remit_finance', p.pronamespace, 'USAGE')"
        " AND has_function_privilege('remit_finance', p.oid, 'EXECUTE')"
    ).fetchall()
    assert {name for (name,) in rows} == HARMLESS
    assert open_to_readers(trial.url) == []


def test_no_function_that_runs_a_text_is_open(trial: Trial) -> None:
    """Those that PostgreSQL does not mark as volatile are closed as well."""
    ((count,),) = trial.looking.execute(
        "SELECT count(*) FROM pg_proc WHERE has_function_privilege('remit_security', oid, 'EXECUTE')"
        " AND (proname ~ '(query|cursor|table|schema|database)_to_xml' OR proname = 'ts_stat'"
        "      OR proname = 'ts_rewrite' AND pronargs = 2 OR proname ~ '^pg_(read|ls)_|^pg_stat_file|^lo_|advisory')"
    ).fetchall()
    assert count == 0


HOSTILE = (
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "SET temp_file_limit = -1",
    "SET session_replication_role = replica",
    "ALTER ROLE finance_kim SET temp_file_limit = -1",
    "ALTER ROLE finance_kim RESET temp_file_limit",
    "ALTER ROLE finance_kim CONNECTION LIMIT 100",
    "ALTER ROLE finance_kim SUPERUSER",
    "ALTER ROLE remit_finance NOINHERIT",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "ALTER VIEW chargeback.grants RENAME TO x",
    "DROP VIEW chargeback.grants",
    "GRANT remit_security TO finance_kim",
    "GRANT remit_finance TO finance_kim",
    "REASSIGN OWNED BY finance_kim TO postgres",
    "CREATE ROLE x",
    "CREATE SCHEMA x",
    "CREATE TEMP VIEW x AS SELECT 1",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE PUBLICATION x",
    "CREATE SUBSCRIPTION x CONNECTION 'x' PUBLICATION y",
    "CREATE EVENT TRIGGER x ON ddl_command_start EXECUTE FUNCTION f()",
    "DO $$ BEGIN PERFORM pg_advisory_lock(7237494); END $$",
    "DO $$ BEGIN EXECUTE 'SET ROLE remit_owner'; END $$",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY pg_authid TO STDOUT",
    "BEGIN; LOCK TABLE chargeback.charges IN SHARE MODE",
    "BEGIN; LOCK TABLE remit.entries IN ACCESS SHARE MODE",
    "BEGIN; LOCK TABLE pg_class IN SHARE MODE",
    "SELECT * FROM chargeback.grants FOR UPDATE",
    "SELECT * FROM chargeback.grants FOR KEY SHARE",
    "SELECT * INTO public.x FROM chargeback.grants",
    "WITH x AS (DELETE FROM chargeback.grants RETURNING 1) SELECT * FROM x",
    "LOAD '/tmp/x'",
    "CHECKPOINT",
    "SELECT (k).pg_advisory_lock FROM (VALUES (7237494::bigint)) AS v(k)",
    "SELECT (q).ts_stat FROM (VALUES ('SELECT 1'::text)) AS v(q)",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT 1')",
    "SELECT table_to_xml('chargeback.charges', true, true, '')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    "SELECT pg_export_snapshot()",
    "SELECT pg_create_physical_replication_slot('x')",
    "SELECT pg_switch_wal()",
    "SELECT pg_stat_reset()",
    "SELECT pg_blocking_pids(1)",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_statistic",
    "SELECT 'remit.entries'::regclass",
    "EXPLAIN SELECT * FROM remit.entries",
)  # fmt: skip


@pytest.mark.parametrize("statement", HOSTILE)
def test_raw_sql_gains_nothing(kim: NewLogin, statement: str) -> None:
    """Each is refused for want of a right, with every default of the login switched off."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_kim(kim, statement)


def test_nothing_of_others_is_seen(trial: Trial, kim: NewLogin) -> None:
    """No statement of another session, no value of a column in the planner's statistics, no sequence, no password."""
    trial.looking.execute("ANALYZE; SELECT 'a statement of somebody'")
    assert (
        as_kim(kim, "SELECT query FROM pg_stat_activity WHERE usename <> 'finance_kim' AND query ~ 'statement'") == []
    )
    assert as_kim(kim, "SELECT * FROM pg_stats WHERE schemaname NOT IN ('pg_catalog', 'information_schema')") == []
    assert as_kim(kim, "SELECT DISTINCT pg_sequence_last_value(oid) FROM pg_class WHERE relkind = 'S'") == [(None,)]
    assert as_kim(kim, "SELECT DISTINCT rolpassword FROM pg_roles") == [("********",)]


@pytest.mark.parametrize(
    "statement",
    ["DROP OWNED BY remit_finance", "DROP OWNED BY finance_kim", "REVOKE SELECT ON chargeback.charges FROM remit_finance",
     "GRANT SELECT ON chargeback.charges TO PUBLIC", "SET ROLE remit_finance; GRANT SELECT ON chargeback.charges TO PUBLIC",
     "VACUUM", "ANALYZE", "NOTIFY remit_tree, '99999999'"],
)  # fmt: skip
def test_what_is_not_refused_does_nothing(trial: Trial, kim: NewLogin, statement: str) -> None:
    """PostgreSQL warns of these and goes on: every right is as it was, and gateways work."""
    rights = (
        "SELECT string_agg(relname || relacl::text, ' ' ORDER BY oid) FROM pg_class"
        " WHERE relnamespace IN ('chargeback'::regnamespace, 'remit'::regnamespace)"
    )
    before = trial.one(rights)
    as_kim(kim, statement)
    assert trial.one(rights) == before
    hold = trial.hold(trial.grants["grant_root"], 1)
    assert trial.take(hold) == [True] and trial.settle(hold.id, 0) == "settled"


def test_a_persons_login_can_be_asked_with(kim: NewLogin) -> None:
    """It has the rights of its reader and none beyond, so questions are asked with it."""
    found = ask(
        make_conninfo(kim.url, password=kim.password), None, "SELECT grant_path FROM grants", Limits(), SystemClock()
    )
    assert found.rows == [("root",)]


def test_a_start_closes_what_is_open(trial: Trial) -> None:
    """A function that is everybody's again, as after the server was brought to a newer version, is closed by the next start."""
    trial.looking.execute("GRANT EXECUTE ON FUNCTION pg_sleep(double precision) TO PUBLIC")
    assert open_to_readers(trial.url) == ["pg_sleep(double precision)"]
    migrate(trial.url)
    assert open_to_readers(trial.url) == []
