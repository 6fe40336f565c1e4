-- What a closed month was signed off with, and when.
SELECT totals, changed_at FROM billing_months WHERE month = %(month)s AND status = 'closed'
