"""Vendors' statements: one file per format, bytes in and lines out."""
