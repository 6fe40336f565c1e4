"""The pages about the SDK name what there is."""

import inspect
import re
from pathlib import Path

import remit
from remit import sdk
from remit.sdk import refusal

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference/sdk.md").read_text()
HOWTO = (DOCS / "howto/agents.md").read_text()


def test_every_name_has_its_place_on_the_page() -> None:
    """Each name the SDK offers stands in the reference, and is marked where it is in `remit.sdk` only."""
    for name in sdk.__all__:
        rows = [line for line in REFERENCE.splitlines() if line.startswith("|") and re.search(rf"`{name}[`(]", line)]
        assert rows, f"{name} is not in the reference"
        assert any("(*sdk*)" in row for row in rows) == (name not in remit.__all__), name


def test_every_term_and_attribute_is_on_the_page() -> None:
    """Terms of `attenuate`, and what a refusal has, are all listed."""
    terms = [name for name in inspect.signature(sdk.attenuate).parameters if name not in ("capability", "strict")]
    for name in (*terms, *refusal.Refusal.__annotations__):
        assert f"`{name}`" in REFERENCE, name


def test_the_pages_name_nothing_that_is_not_there() -> None:
    """`remit.something` in a page is something of the package's, and its Python compiles."""
    for page in (REFERENCE, HOWTO):
        for name in re.findall(r"\bremit\.([A-Za-z_]+)", page):
            assert name == "sdk" or name in remit.__all__, name
        for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            compile(code, "page", "exec", flags=0x2000)  # PyCF_ALLOW_TOP_LEVEL_AWAIT
