-- Jobs whose worker is gone, or has not been heard of for so long, are to be done again. One statement: of two that rescue at the
-- same time, one does.
UPDATE remit_jobs.procrastinate_jobs AS j
SET status = 'todo', attempts = j.attempts + 1, scheduled_at = clock_timestamp(), worker_id = NULL, abort_requested = false
WHERE j.status = 'doing'
  AND NOT EXISTS (SELECT FROM remit_jobs.procrastinate_workers AS w
                  WHERE w.id = j.worker_id AND w.last_heartbeat >= clock_timestamp() - make_interval(secs => %(seconds)s))
RETURNING j.id, j.task_name AS task
