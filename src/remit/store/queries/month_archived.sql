-- The month that begins at an instant, if its calls are in the archive alone.
SELECT %(month)s::date WHERE is_dropped(%(month)s::timestamp AT TIME ZONE 'UTC')
