-- What PostgreSQL gives to every login, readers' too, and no reader needs: what it is, the statement that takes it away, and whether
-- the current user may do that. Of the server's functions all that are volatile, but for those named here, so that what a newer
-- server brings is taken as well. The statement gives what Remit's processes use of it back to them.
SELECT p.oid::regprocedure::text AS what,
       format('REVOKE EXECUTE ON FUNCTION %1$s FROM PUBLIC;'
              ' GRANT EXECUTE ON FUNCTION %1$s TO remit_owner, remit_authority, remit_gateway, remit_reader',
              p.oid::regprocedure) AS remedy,
       pg_has_role(current_user, p.proowner, 'USAGE') AS can_close
FROM pg_proc AS p
WHERE p.pronamespace = 'pg_catalog'::regnamespace
  AND (p.provolatile = 'v'
           -- Only PostgreSQL itself calls these, whatever the rights.
           AND p.prorettype <> 'trigger'::regtype AND 'internal'::regtype <> ALL (p.proargtypes) AND p.proname !~ '^plpgsql_'
           -- Chance, time and the session's own settings.
           AND p.proname !~ '^(random|random_normal|setseed|array_(sample|shuffle)|gen_random_uuid|uuidv[47])$'
           AND p.proname !~ '^(clock_timestamp|timeofday|current_query|set_config)$'
           -- Need a right to the sequence, or concern sessions of the same login alone.
           AND p.proname !~ '^(nextval|setval|currval|lastval|pg_(cancel|terminate)_backend)$'
           -- Say how the server fares, which clients show and monitors watch.
           AND p.proname !~ '^(pg_stat_.*|pg_lock_status|pg_prepared_xact|pg_get_.*|pg_is_.*|pg_jit_available|amvalidate)$'
           AND p.proname !~ '^(pg_(control|current|last)_.*|pg_(available_)?wal_summar.*|pg_notification_queue_usage)$'
           AND p.proname !~ '^(pg_.*_size|pg_partition_.*|pg_(database_)?collation_actual_version|pg_sequence_last_value)$'
           AND p.proname !~ '^(pg_xact_.*|txid_status)$'
           -- Ask by themselves for an attribute, for ownership, or whether the server is being upgraded.
           AND p.proname !~ '^(pg_.*_replication_slots?|pg_replication_slot_advance|pg_logical_slot_.*|binary_upgrade_.*)$'
           AND p.proname !~ '^(brin_.*|gin_.*|pg_(clear|restore)_.*_stats|pg_nextoid|pg_import_system_collations)$'
           AND p.proname !~ '^(pg_extension_config_dump|pg_stop_making_pinned_objects|currtid2)$'
       -- Run a text as a statement, or read all of a table, while they are not marked volatile.
       OR p.proname ~ '^(table|schema|database)_to_xml')
  AND (has_function_privilege('remit_engineering', p.oid, 'EXECUTE') OR has_function_privilege('remit_finance', p.oid, 'EXECUTE')
       OR has_function_privilege('remit_security', p.oid, 'EXECUTE'))
UNION ALL
SELECT 'temporary tables',
       -- What left for the archive is looked at in temporary tables.
       format('REVOKE TEMPORARY ON DATABASE %1$I FROM PUBLIC;'
              ' GRANT TEMPORARY ON DATABASE %1$I TO remit_owner, remit_authority, remit_gateway, remit_reader', d.datname),
       pg_has_role(current_user, d.datdba, 'USAGE')
FROM pg_database AS d
WHERE d.datname = current_database()
  AND (has_database_privilege('remit_engineering', d.oid, 'TEMPORARY') OR has_database_privilege('remit_finance', d.oid, 'TEMPORARY')
       OR has_database_privilege('remit_security', d.oid, 'TEMPORARY'))
ORDER BY what
