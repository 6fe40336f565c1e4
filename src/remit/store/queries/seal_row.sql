-- One entry's number and row as JSON, if one of these grants was charged for it.
SELECT seq, row_to_json(e)::text FROM entries AS e
WHERE id = %(id)s AND (%(nodes)s::text[] IS NULL OR node_ids && %(nodes)s::text[])
