-- Nobody has this person stand in for them any more.
UPDATE people SET delegate = NULL, delegate_until = NULL WHERE delegate = %(name)s
