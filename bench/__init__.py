"""Measures throughput and added latency on this machine; see README.md."""
