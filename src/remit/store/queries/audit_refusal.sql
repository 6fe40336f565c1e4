-- A write that was refused.
SELECT audit_refusal(%(kind)s, %(id)s, %(about)s, %(problems)s)
