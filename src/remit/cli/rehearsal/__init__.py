"""Runs a whole Remit for a while under a workload and judges it on the vendor's books; see the README beside this."""
