-- The next revision of a rule.
INSERT INTO cost_rule_revisions (name, revision, owner, description, body, is_retired, changed_at, changed_by, reason)
VALUES (%(name)s, %(revision)s, %(owner)s, %(description)s, %(body)s, %(is_retired)s, %(changed_at)s, %(changed_by)s, %(reason)s)
