-- Records a segment that was read back; see migration 0029.
SELECT record_segment(%(now)s, %(first)s, %(last)s, %(entries)s, %(amount)s, %(digest)s, %(hashes)s, %(version)s)
