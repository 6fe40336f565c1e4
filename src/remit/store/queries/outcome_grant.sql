-- The grant an outcome was asserted at.
SELECT grant_id FROM outcomes WHERE id = %(outcome_id)s
