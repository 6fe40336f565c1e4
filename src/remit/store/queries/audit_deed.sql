-- Something a person did that stands in no audited table.
SELECT audit_deed(%(kind)s, %(id)s, %(grant_id)s, %(what)s)
