INSERT INTO legal_holds (id, grant_id, reason, placed_by, placed_at) VALUES (%(id)s, %(grant_id)s, %(reason)s, %(by)s, %(now)s)
