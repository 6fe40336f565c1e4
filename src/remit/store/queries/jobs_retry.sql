-- Makes a job that failed for good due again, with all its attempts before it.
UPDATE remit_jobs.procrastinate_jobs SET status = 'todo', attempts = 0, scheduled_at = clock_timestamp()
WHERE id = %(id)s AND status = 'failed'
RETURNING task_name
