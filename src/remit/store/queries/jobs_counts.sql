-- How many jobs of each task are in which state.
SELECT task, state, count(*) AS count
FROM (SELECT task_name AS task,
             CASE status WHEN 'todo' THEN CASE WHEN scheduled_at > clock_timestamp() THEN 'scheduled' ELSE 'due' END
                         WHEN 'doing' THEN 'running' WHEN 'succeeded' THEN 'done' WHEN 'failed' THEN 'failed'
                         ELSE 'cancelled' END AS state
      FROM remit_jobs.procrastinate_jobs) AS jobs
GROUP BY task, state
ORDER BY task, state
