"""Carries notifications to people's systems."""
