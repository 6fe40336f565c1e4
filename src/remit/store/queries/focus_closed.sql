-- Whether the books of a month are closed.
SELECT coalesce(%(month)s::date <= closed_through, false) FROM books
