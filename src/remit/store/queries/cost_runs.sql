-- How often a rule was posted for a month.
SELECT count(DISTINCT settlement ->> 'transfer_id') FROM entries
WHERE kind = 'transfer' AND settlement ->> 'month' = %(month)s AND settlement ->> 'rule' = %(rule)s
