"""Outcomes: what the spending was for, as systems of record assert it, and what each cost."""
