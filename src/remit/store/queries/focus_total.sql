-- What was charged in a billing month by the sums that reports read, and by the entries that are not in them yet: not by those that the
-- export reads, so that it can be noticed where some of them are not there.
SELECT (coalesce((SELECT sum(d.amount_nanousd) FROM rollup_days AS d WHERE d.billing_month = %(month)s), 0)
        + coalesce((SELECT sum(f.amount_nanousd) FROM entry_facts AS f
                    WHERE f.seq > (SELECT seq FROM rollup_state) AND f.billing_month = %(month)s), 0))::bigint
