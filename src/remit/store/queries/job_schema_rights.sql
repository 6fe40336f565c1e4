-- Who may do what with procrastinate's tables, said anew after each of its migrations: the authority what procrastinate's own
-- queries do, nobody else anything. Its functions run with their caller's rights and name tables without their schema, so each
-- is told where they are: it is also called, and its triggers fire, on connections whose search path is ours.
DO $$
DECLARE
    found record;
BEGIN
    FOR found IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = 'remit_jobs'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = remit_jobs, pg_temp', found.name);
    END LOOP;
END
$$;
REVOKE ALL ON ALL TABLES IN SCHEMA remit_jobs FROM PUBLIC, remit_authority;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA remit_jobs FROM PUBLIC, remit_authority;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA remit_jobs FROM PUBLIC, remit_authority;
GRANT SELECT, INSERT, UPDATE, DELETE ON remit_jobs.procrastinate_jobs, remit_jobs.procrastinate_workers,
    remit_jobs.job_errors TO remit_authority;
-- Events of a job go with it, by the owner's right.
GRANT SELECT, INSERT ON remit_jobs.procrastinate_events TO remit_authority;
-- Written to by a trigger on jobs; nothing of ours is periodic there.
GRANT SELECT, UPDATE ON remit_jobs.procrastinate_periodic_defers TO remit_authority;
GRANT USAGE ON SEQUENCE remit_jobs.procrastinate_jobs_id_seq, remit_jobs.procrastinate_events_id_seq TO remit_authority;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA remit_jobs TO remit_authority;
-- What waits under a lock is looked for by every transaction that defers.
CREATE INDEX IF NOT EXISTS remit_jobs_waiting ON remit_jobs.procrastinate_jobs (lock) WHERE status = 'todo';
