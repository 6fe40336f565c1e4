-- Jobs after an id, of these states or of all of them, oldest first. since: when it came into its state, or will be due.
WITH jobs AS (
    SELECT j.id, j.task_name AS task, j.lock AS key, j.attempts, j.scheduled_at, j.status,
           CASE j.status WHEN 'todo' THEN CASE WHEN j.scheduled_at > clock_timestamp() THEN 'scheduled' ELSE 'due' END
                         WHEN 'doing' THEN 'running' WHEN 'succeeded' THEN 'done' WHEN 'failed' THEN 'failed'
                         ELSE 'cancelled' END AS state
    FROM remit_jobs.procrastinate_jobs AS j
    WHERE j.id > %(after)s
)
SELECT j.id, j.task, j.key, j.state, j.attempts, e.error,
       CASE WHEN j.status = 'todo' AND j.scheduled_at IS NOT NULL THEN j.scheduled_at
            ELSE (SELECT max(v.at) FROM remit_jobs.procrastinate_events AS v WHERE v.job_id = j.id) END AS since
FROM jobs AS j LEFT JOIN remit_jobs.job_errors AS e ON e.job_id = j.id
WHERE cardinality(%(states)s::text[]) = 0 OR j.state = ANY (%(states)s::text[])
ORDER BY j.id
LIMIT %(count)s
