"""What a request may cost at most, and what a usage did cost. Pure; see README.md in this folder."""
