"""The only SQL in Remit; see README.md in this folder."""
