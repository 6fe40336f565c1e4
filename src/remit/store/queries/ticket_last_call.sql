-- When the last call of a grant itself was taken; calls of grants below it are not looked for.
SELECT greatest((SELECT max(e.held_at) FROM entries AS e WHERE e.grant_id = %(grant_id)s),
                (SELECT max(d.last_held_at) FROM dropped_sums AS d WHERE d.grant_id = %(grant_id)s))
