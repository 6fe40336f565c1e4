-- Ends the roles of a person, all or those of one source.
UPDATE role_bindings SET ended_at = %(now)s, ended_by = %(by)s
WHERE person = %(person)s AND (%(source)s::text IS NULL OR source = %(source)s) AND ended_at IS NULL
