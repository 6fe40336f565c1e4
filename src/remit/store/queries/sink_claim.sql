-- Takes a sink whose time has come and puts it off; two workers never take it at the same moment. (from where, attempts before)
UPDATE sinks SET next_attempt_at = %(until)s WHERE name = %(sink)s AND next_attempt_at <= %(now)s RETURNING seq, attempts
