"""The budget chain: signed capabilities, access keys that stand for one, and issuer keys; see README.md."""
