-- What each vendor is owed by what is booked in a month.
SELECT vendor, amount_nanousd FROM booked_in(%(month)s) ORDER BY vendor
