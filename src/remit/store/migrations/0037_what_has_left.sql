-- Who reads entries one after the other can tell whether some of them have left; views of entries say that they lack these.
SET ROLE remit_owner;
SET search_path = remit, pg_temp;

-- The highest number of the entries of a partition that left: whoever goes on behind it lacks none of them. Of those that left before
-- this was kept, what is known to be no lower.
ALTER TABLE ledger_partitions ADD last_seq bigint;
UPDATE ledger_partitions SET last_seq = summed_seq WHERE dropped_at IS NOT NULL;
ALTER TABLE ledger_partitions ADD CONSTRAINT dropped_up_to CHECK (dropped_at IS NULL OR last_seq IS NOT NULL);
DO $do$
DECLARE
    v_made text := pg_get_functiondef('drop_partition(text, timestamptz, integer)'::regprocedure);
    v_old text := 'SET last_recorded_at = (SELECT max(recorded_at) FROM %I) WHERE';
BEGIN
    IF (length(v_made) - length(replace(v_made, v_old, ''))) / length(v_old) <> 1 THEN
        RAISE EXCEPTION 'drop_partition is not as it was when this was written';
    END IF;
    EXECUTE replace(v_made, v_old, 'SET (last_recorded_at, last_seq) = (SELECT max(recorded_at), coalesce(max(seq), 0) FROM %I) WHERE');
END
$do$;

COMMENT ON VIEW chargeback.calls IS 'Entries of calls, one by one: what each cost and used. Those of months that were moved to the archive are not in it (remit ledger scan has them); the sums in usage_days and usage_hours have all';
COMMENT ON VIEW chargeback.decisions IS 'Requests that were let through: who held what, decided how; no amounts. Those of months that were moved to the archive are not in it (remit ledger scan has them)';

RESET ROLE;
