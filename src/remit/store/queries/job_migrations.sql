-- Which migrations of procrastinate were applied.
SELECT name FROM remit.job_migrations ORDER BY name
