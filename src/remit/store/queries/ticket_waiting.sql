-- How many open tickets one person asked for; a debt and a finding is nobody's wish.
SELECT count(*) FROM tickets
WHERE state = 'open' AND lower(requester) = lower(%(requester)s) AND kind NOT IN ('debt', 'finding')
