"""One set of files per vendor wire format: parse, clamp, read usage, shape errors. See README.md in this folder."""
