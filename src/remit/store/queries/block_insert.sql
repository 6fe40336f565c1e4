-- A block that was minted here.
INSERT INTO capability_blocks (id, grant_id, kid, issued_at, not_after, max_children, limits, issued_by, purpose,
                               recorded_at)
VALUES (%(id)s, %(grant_id)s, %(kid)s, %(issued_at)s, %(not_after)s, %(max_children)s, %(limits)s, %(issued_by)s,
        %(purpose)s, %(recorded_at)s)
