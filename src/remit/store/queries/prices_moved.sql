-- Whether the prices of what a grant calls have risen.
SELECT prices_moved(%(grant_id)s, %(now)s)
