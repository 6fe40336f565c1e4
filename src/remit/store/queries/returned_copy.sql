-- The entries that come back.
COPY pg_temp.arriving (row) FROM STDIN
