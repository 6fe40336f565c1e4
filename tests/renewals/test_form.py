"""A request in the text of an issue is read exactly, or not at all."""

import pytest

from remit.grants.model import Limit
from remit.renewals.form import FormError, read_form

INCREASE = "kind: increase\ngrant: acme/research\nlimit: 500 usd per month\nreason: two more projects"


def fenced(lines: str, begin: str = "```remit", end: str = "```") -> str:
    return f"more for research\n\nPlease:\n{begin}\n{lines}\n{end}\nThanks!\n```python\nprint()\n```\n"


@pytest.mark.parametrize(
    ("begin", "end"),
    [("```remit", "```"), ("~~~~ remit", "~~~~"), ("{code:yaml}", "{code}"), ("{noformat}", "{noformat}")],
)
def test_a_block_is_found_among_other_text(begin: str, end: str) -> None:
    """In GitHub's fences and Jira's, with whatever else people write around it; carriage returns are no content."""
    form = read_form(fenced(INCREASE.replace("\n", "\r\n"), begin, end))
    assert (form.kind, form.about, form.reason) == ("increase", "acme/research", "two more projects")
    assert form.limits == (Limit("usd", 500 * 10**9, "month"),)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (INCREASE.replace("limit", "limits"), "`limits` is not known for `kind: increase`"),
        (INCREASE + "\nowner: eve@acme.example", "`owner` is not known"),
        (INCREASE + "\nreason: another", "`reason` is stated 2 times"),
        (INCREASE + "\nlimit: 600 usd per month", "stated twice"),
        (INCREASE + "\nlimit: $600 a month", "`a month` does not say one of usd"),
        (INCREASE.replace("500", "1e9"), "1e9"),
        (INCREASE.replace("increase", "everything"), "`kind` is stated once"),
        (INCREASE + "\nkind: renew", "`kind` is stated once"),
        (INCREASE.replace("reason: ", "reason "), "is not of the form"),
        (INCREASE.replace("two", "t\x1bwo"), "is not of the form"),
        (INCREASE.replace("two", "t\u202ewo"), "is not of the form"),
        ("kind: increase\ngrant: acme", "needs `reason`, `limit` as well"),
        ("kind: renew\ngrant: acme\nreason: x", "either `for`"),
        ("kind: renew\ngrant: acme\nreason: x\nfor: 9d\nexpires: 2027-01-01", "either `for`"),
        ("x: 1\n" * 61, "at most 60 lines"),
        (INCREASE + "\nreason: " + "x" * 1_001, "longer than 1,000"),
        ("- kind: increase", "is not of the form"),
    ],
)
def test_what_is_not_exact_is_refused_with_why(lines: str, why: str) -> None:
    """Unknown and repeated names, other amounts, control characters and too much text are no request."""
    with pytest.raises(FormError) as raised:
        read_form(fenced(lines))
    assert why in str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["", "kind: increase", "```remit\nkind: increase", fenced(INCREASE) + fenced(INCREASE), "```yaml\na: b\n```"],
)
def test_there_is_one_block(text: str) -> None:
    """None, two, or one without an end is no request."""
    with pytest.raises(FormError, match="one block"):
        read_form(text)
