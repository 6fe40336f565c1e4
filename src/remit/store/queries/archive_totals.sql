-- How many entries should be in the archive and what they come to: what was written, without what expired.
SELECT (SELECT coalesce(sum(entries), 0) FROM segments) - (SELECT coalesce(sum(entries), 0) FROM expired_months WHERE done_at IS NOT NULL),
       ((SELECT coalesce(sum(amount_nanousd), 0) FROM segments)
        - (SELECT coalesce(sum(amount_nanousd), 0) FROM expired_months WHERE done_at IS NOT NULL))::text
