-- Who of these left; of everybody without names.
SELECT name FROM people
WHERE status = 'left' AND (%(names)s::text[] IS NULL OR name = ANY (%(names)s))
