"""Tickets: how authority is asked for, decided by named people, renewed, or lost."""
