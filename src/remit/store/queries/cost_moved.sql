-- What rules moved away of a month's cost so far, by rule and whoever bore it.
SELECT settlement ->> 'rule' AS rule, grant_id, tags, -sum(amount_nanousd)::bigint AS moved
FROM entries
WHERE kind = 'transfer' AND settlement ->> 'month' = %(month)s AND settlement ->> 'part' = 'from'
GROUP BY 1, 2, 3
