"""Months of traffic with known mistakes, on both sides of a reconciliation; see README.md in this folder."""
