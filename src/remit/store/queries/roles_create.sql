-- The roles of the schema, where missing. They belong to the server and not to a database: another database's migration may
-- be making them at this moment.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['remit_owner', 'remit_authority', 'remit_gateway', 'remit_reader',
                                       'remit_engineering', 'remit_finance', 'remit_security'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- it is there, and that is what was wanted
            END;
        END IF;
    END LOOP;
END
$$
