-- Ends one role of a person.
UPDATE role_bindings SET ended_at = %(now)s, ended_by = %(by)s WHERE id = %(id)s AND ended_at IS NULL
