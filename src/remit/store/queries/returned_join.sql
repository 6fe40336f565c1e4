-- What this connection calls entries has them as well from here on: a temporary relation comes before others of its name.
INSERT INTO pg_temp.returned SELECT e.* FROM pg_temp.arriving AS a, jsonb_populate_record(NULL::remit.entries, a.row) AS e;
DROP TABLE pg_temp.arriving;
CREATE INDEX ON pg_temp.returned (held_at);
CREATE INDEX ON pg_temp.returned (hold_id);
CREATE INDEX ON pg_temp.returned (id);
CREATE INDEX ON pg_temp.returned (corrects);
ANALYZE pg_temp.returned;
CREATE TEMPORARY VIEW entries AS SELECT * FROM remit.entries UNION ALL SELECT * FROM pg_temp.returned
