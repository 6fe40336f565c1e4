"""Fakes that are shipped: what Remit's own tests use, and what its users may use in theirs."""
