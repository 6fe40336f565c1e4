-- No month leaves until the transaction ends. First in it, so that what it sees afterwards is as it was from here on.
LOCK TABLE entries IN ACCESS SHARE MODE
