-- When the last call of a grant itself was taken; calls of grants below it are not looked for.
SELECT max(e.held_at) FROM entries AS e WHERE e.grant_id = %(grant_id)s
