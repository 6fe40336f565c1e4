-- What was answered to a message that was heard.
UPDATE heard SET answer = %(answer)s WHERE channel = %(channel)s AND delivery_id = %(delivery_id)s
