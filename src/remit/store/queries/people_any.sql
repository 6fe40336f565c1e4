-- Whether there is anybody.
SELECT EXISTS (SELECT FROM people) OR EXISTS (SELECT FROM grants)
