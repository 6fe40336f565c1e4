-- Whether the database answers, in this role and with this schema.
SELECT EXISTS (SELECT FROM tree_state)
