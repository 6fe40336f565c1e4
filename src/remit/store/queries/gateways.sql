-- The gateways there are, as they were last heard of, with how long ago that was in milliseconds.
SELECT id, name, started_at, seen_at, acknowledged_revision,
       (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint
FROM gateways ORDER BY name, id
