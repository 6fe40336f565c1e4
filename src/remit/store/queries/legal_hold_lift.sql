UPDATE legal_holds SET lifted_by = %(by)s, lifted_at = %(now)s WHERE id = %(id)s AND lifted_at IS NULL RETURNING id
