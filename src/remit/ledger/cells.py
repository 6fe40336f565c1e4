"""Values of a report as cells of a table that a spreadsheet opens."""

# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def text_cell(value: str | None) -> str:
    """A value that somebody else chose, as text in any spreadsheet; nothing for what is not known."""
    text = value or ""
    return f"'{text}" if text.startswith(_FORMULA) else text
