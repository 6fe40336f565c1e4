-- Defers jobs, each of a key under which none waits. One that waits is locked until the transaction has ended: no worker takes it
-- meanwhile, so whatever was written before is seen by it. Its lock is the key: no two of a key run at once.
WITH wanted AS (
    SELECT * FROM unnest(%(tasks)s::text[], %(keys)s::text[], %(waits)s::interval[], %(arguments)s::jsonb[])
        AS w (task, key, wait, arguments)
), waiting AS MATERIALIZED (
    SELECT j.lock FROM remit_jobs.procrastinate_jobs AS j
    WHERE j.status = 'todo' AND j.lock = ANY (%(keys)s::text[])
    ORDER BY j.id
    FOR UPDATE
)
SELECT remit_jobs.procrastinate_defer_jobs_v1(array_agg(
    ROW ('remit', w.task, 0, w.key, NULL, w.arguments,
         CASE WHEN w.wait > interval '0' THEN clock_timestamp() + w.wait END)::remit_jobs.procrastinate_job_to_defer_v1))
FROM wanted AS w
WHERE NOT EXISTS (SELECT FROM waiting WHERE waiting.lock = w.key)
HAVING count(*) > 0
