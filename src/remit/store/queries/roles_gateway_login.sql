-- The login of gateway processes on the embedded server: it can work as a gateway and as nothing else.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'remit_gateway_login') THEN
        BEGIN
            CREATE ROLE remit_gateway_login LOGIN IN ROLE remit_gateway;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- another process that starts now has made it
        END;
    END IF;
END
$$
