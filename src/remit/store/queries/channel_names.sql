-- The channels that were ever given anything.
SELECT name FROM channels ORDER BY name
