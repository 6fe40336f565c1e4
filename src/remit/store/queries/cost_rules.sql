-- The rules that divide cost as they are now; with the retired ones, or without.
SELECT r.name, r.revision, r.owner, r.description, r.body, r.is_retired, r.changed_by, a.agreed_by
FROM cost_rules AS r LEFT JOIN cost_rule_agreements AS a ON (a.name, a.revision) = (r.name, r.revision)
WHERE (%(name)s::text IS NULL OR r.name = %(name)s) AND (%(retired)s OR NOT r.is_retired)
ORDER BY r.name
