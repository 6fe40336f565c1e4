-- What a directory says of a person.
UPDATE people SET manager = %(manager)s, external_id = %(external_id)s WHERE name = %(name)s
