"""The ledger: what an entry is, how entries are reported, what must always agree."""
