-- Whether a grant's time is up that its status does not say yet.
SELECT EXISTS (SELECT FROM grants WHERE status = 'active' AND expires_at <= %(now)s)
