-- Who wrote the envelope of a grant's boundary as it stands: the author of the first revision since it is the same.
WITH stated AS (
    SELECT r.revision, r.changed_by, r.body #> '{delegation,boundary,auto_approve}' AS envelope
    FROM grant_revisions AS r
    WHERE r.grant_id = %(grant_id)s
), latest AS (
    SELECT s.envelope FROM stated AS s ORDER BY s.revision DESC LIMIT 1
)
SELECT s.changed_by
FROM stated AS s
WHERE s.revision > coalesce((SELECT max(o.revision) FROM stated AS o, latest AS l
                             WHERE o.envelope IS DISTINCT FROM l.envelope), 0)
ORDER BY s.revision
LIMIT 1
