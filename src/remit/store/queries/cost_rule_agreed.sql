-- That somebody who did not write a revision posts it.
INSERT INTO cost_rule_agreements (name, revision, agreed_at, agreed_by, reason)
VALUES (%(name)s, %(revision)s, %(at)s, %(by)s, %(reason)s)
