"""Vendors are asked for their own reports of usage and costs."""
