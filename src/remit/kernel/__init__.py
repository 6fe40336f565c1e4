"""The vocabulary every other folder speaks: money, usage, periods, ids, clock, decisions.

Standard library only, no I/O; see README.md in this folder.
"""
