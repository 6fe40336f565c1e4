-- All grants.
SELECT body FROM grants ORDER BY path
