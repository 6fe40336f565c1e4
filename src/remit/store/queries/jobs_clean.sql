-- Forgets jobs that ended long ago: the done after one time, those that were not after another.
WITH gone AS (
    DELETE FROM remit_jobs.procrastinate_jobs AS j
    WHERE j.status NOT IN ('todo', 'doing')
      AND NOT EXISTS (
          SELECT FROM remit_jobs.procrastinate_events AS v
          WHERE v.job_id = j.id
            AND v.at > clock_timestamp() - CASE j.status WHEN 'succeeded' THEN %(done)s::interval ELSE %(failed)s::interval END)
    RETURNING j.id
), errors AS (
    DELETE FROM remit_jobs.job_errors AS e
    WHERE e.job_id IN (SELECT id FROM gone)
       OR NOT EXISTS (SELECT FROM remit_jobs.procrastinate_jobs AS j WHERE j.id = e.job_id)
)
SELECT count(*) FROM gone
