-- Remembers that a migration of procrastinate was applied.
INSERT INTO remit.job_migrations (name, package) VALUES (%(name)s, %(package)s)
