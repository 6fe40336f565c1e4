"""The tree of grants: issue, delegate, narrow, renew, revoke; effective authority along a path.

Pure rules and one service over a port; no I/O and no clock of its own; see README.md in this folder.
"""
