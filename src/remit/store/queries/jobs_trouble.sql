-- Jobs that failed for good with no success of the same work since, and those that wait longer than they should: nobody works,
-- or too few do. (id, task, key, error, since)
SELECT j.id, j.task_name AS task, j.lock AS key, coalesce(e.error, 'unknown') AS error, NULL::timestamptz AS since
FROM remit_jobs.procrastinate_jobs AS j LEFT JOIN remit_jobs.job_errors AS e ON e.job_id = j.id
WHERE j.status = 'failed'
  AND NOT EXISTS (SELECT FROM remit_jobs.procrastinate_jobs AS later
                  WHERE later.status = 'succeeded' AND later.id > j.id
                    AND split_part(later.lock, '@', 1) = split_part(j.lock, '@', 1))
UNION ALL
SELECT w.id, w.task_name, w.lock, NULL, w.since
FROM (SELECT j.*, coalesce(j.scheduled_at, (SELECT max(v.at) FROM remit_jobs.procrastinate_events AS v
                                            WHERE v.job_id = j.id)) AS since
      FROM remit_jobs.procrastinate_jobs AS j WHERE j.status = 'todo') AS w
WHERE w.since < clock_timestamp() - make_interval(secs => %(patience)s)
ORDER BY id
