"""Remit: the authorization system for an organization's LLM spend."""

__version__ = "0.1.0"
