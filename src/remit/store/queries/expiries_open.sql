-- Months and classes that were to go and were not seen to be gone.
SELECT month, class FROM expired_months WHERE done_at IS NULL ORDER BY month, class
