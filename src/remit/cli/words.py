"""Words that several commands put together alike."""


def counted(count: int, noun: str) -> str:
    """`1 call`, `2 calls`, `1,000 calls`: for nouns whose plural is an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
