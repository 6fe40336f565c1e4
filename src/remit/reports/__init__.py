"""Rows shaped for people and their tools: what the books say, in the columns others expect."""
