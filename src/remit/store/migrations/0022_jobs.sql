-- Jobs. Their tables are procrastinate's and come from the installed package (see `job_schema.py`), into a schema of their own.
CREATE SCHEMA remit_jobs AUTHORIZATION remit_owner;
GRANT USAGE ON SCHEMA remit_jobs TO remit_authority;

SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- What of procrastinate's schema was applied, and by which version of the package; see `migrate.py`.
CREATE TABLE job_migrations (
    name       text PRIMARY KEY,
    package    text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- Why a job failed the last time it was tried. It goes when its job does; no foreign key says so, because the jobs' tables come
-- later and are not ours. Who may do what here is said with those.
CREATE TABLE remit_jobs.job_errors (
    job_id bigint PRIMARY KEY,
    error  text NOT NULL CHECK (length(error) <= 500),
    at     timestamptz NOT NULL
);

GRANT SELECT ON job_migrations TO remit_authority;

RESET ROLE;
