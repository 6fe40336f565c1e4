-- Remembers why a job failed this time.
INSERT INTO remit_jobs.job_errors (job_id, error, at) VALUES (%(id)s, %(error)s, clock_timestamp())
ON CONFLICT (job_id) DO UPDATE SET (error, at) = (excluded.error, excluded.at)
