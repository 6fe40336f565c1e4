-- What was signed off of each closed month, and what is booked in it now.
SELECT to_char(m.month, 'YYYY-MM'), m.totals -> 'vendors',
       coalesce((SELECT jsonb_object_agg(b.vendor, b.amount_nanousd) FROM booked_in(m.month) AS b WHERE b.vendor IS NOT NULL), '{}')
FROM billing_months AS m
WHERE m.status = 'closed'
ORDER BY 1
