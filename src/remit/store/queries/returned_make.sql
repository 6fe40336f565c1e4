-- Where entries of the archive go while this connection is open, each first as JSON.
CREATE TEMPORARY TABLE arriving (row jsonb NOT NULL);
CREATE TEMPORARY TABLE returned (LIKE remit.entries)
