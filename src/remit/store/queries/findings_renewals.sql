-- Grants that an open ticket asks to renew.
SELECT DISTINCT grant_id FROM tickets WHERE state = 'open' AND kind = 'renew' AND grant_id IS NOT NULL
