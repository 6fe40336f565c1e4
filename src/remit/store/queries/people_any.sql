-- Whether there is anybody.
SELECT EXISTS (SELECT FROM people)
