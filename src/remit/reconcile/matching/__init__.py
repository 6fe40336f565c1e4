"""Which vendor's line belongs to which entries, why they differ, and what to book. Pure; see README.md in this folder."""
