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

-- Why a job failed the last time it was tried. No foreign key to the jobs: their tables are not ours to build on.
CREATE TABLE job_errors (
    job_id bigint PRIMARY KEY,
    error  text NOT NULL CHECK (length(error) <= 500),
    at     timestamptz NOT NULL
);

GRANT SELECT ON job_migrations TO remit_authority;
GRANT SELECT, INSERT, UPDATE, DELETE ON job_errors TO remit_authority;

RESET ROLE;
