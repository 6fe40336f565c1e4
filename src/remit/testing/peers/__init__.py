"""Servers shaped like the systems that people are in."""
