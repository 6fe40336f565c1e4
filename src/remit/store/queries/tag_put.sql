-- The next revision of a tag.
INSERT INTO tag_revisions (name, revision, owner, description, allowed, retired, grant_id, is_retired, changed_at, changed_by,
                           reason)
VALUES (%(name)s, %(revision)s, %(owner)s, %(description)s, %(allowed)s, %(retired)s, %(grant_id)s, %(is_retired)s,
        %(changed_at)s, %(changed_by)s, %(reason)s)
