-- Names and hashes of the migrations a database has; none where it was never migrated.
SELECT name, sha256 FROM public.remit_migrations ORDER BY name
