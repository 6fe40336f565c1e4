-- A break-glass that was taken back.
UPDATE break_glasses SET ended_at = %(now)s WHERE ticket_id = %(ticket_id)s AND ended_at IS NULL
