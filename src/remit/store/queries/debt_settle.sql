-- Settles a debt at the tree as it is; whoever asks holds the tree's lock.
SELECT settle_debt(%(now)s, %(grant_id)s, %(period)s, %(amount)s, %(how)s, %(by)s, %(note)s, %(key)s,
                   (SELECT revision FROM tree_state), %(line)s::jsonb)
