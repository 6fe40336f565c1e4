-- Who stands in for a person, until when; nobody with nulls.
UPDATE people SET delegate = %(delegate)s, delegate_until = %(until)s WHERE name = %(name)s
