"""Buckets and holds: pure rules about what is held where, and the port that takes and ends holds."""
