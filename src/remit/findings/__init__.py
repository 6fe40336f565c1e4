"""Findings: what about grants and keys deserves an owner's look, without anybody having asked."""
