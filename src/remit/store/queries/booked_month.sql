-- The month in which something used at an instant is booked now.
SELECT booked_month(%(held_at)s)
