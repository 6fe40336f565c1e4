-- Takes from everybody what PostgreSQL gives to every login and no reader needs: locks that would stop the gateways, notices, large
-- objects, sleeping. What the processes of Remit use of it they are given. Takes a superuser: these functions are the server's.
DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT p.oid::regprocedure FROM pg_proc AS p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
          AND p.proname ~ '^(pg_(try_)?advisory_.*|lo_.*|loread|lowrite|pg_sleep.*|pg_notify|pg_logical_emit_message|pg_export_snapshot|(query|cursor|table|schema|database)_to_xml.*|ts_stat)$'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', v_function);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO remit_owner, remit_authority, remit_gateway, remit_reader', v_function);
    END LOOP;
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$
