-- Every month that has charges or was closed, in order.
SELECT month, status, coalesce(revision, 0) AS revision, changed_at, changed_by, reason,
       CASE status WHEN 'closed' THEN totals END AS totals
FROM billing_months
ORDER BY month
