"""Words that several commands put together alike."""


def counted(count: int, noun: str) -> str:
    """`1 call`, `2 calls`, `1,000 calls`: for nouns whose plural is an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def still_open(found: list[str]) -> str:
    """What PostgreSQL still gives to readers' logins that they do not need, and how it is taken away."""
    shown = next((one for one in found if one.startswith("pg_advisory")), found[0])
    rest = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    return (
        f"PostgreSQL gives every login what no reader needs ({shown}{rest}); a superuser"
        " takes it away with the end of what `remit db reader NAME --for finance --print-sql` prints"
    )
