-- What each transfer sums to, which is nothing.
SELECT settlement ->> 'transfer_id' AS transfer_id, sum(amount_nanousd)::bigint AS sum_nanousd
FROM entries WHERE kind = 'transfer'
GROUP BY 1
ORDER BY 1
