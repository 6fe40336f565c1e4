"""The pages about refusals say what the code does."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest

from remit.kernel.decisions import RefusalCode
from tests.docs.scenes import CLOCK_AT, SCENES, SETTINGS, Answer, Stage, play, without_chance
from tests.system.harness import System

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "refusals"
COMMON = {"code", "status", "transient", "title", "detail", "policy_ids", "decision_id", "request_id"}
SECTIONS = [
    "What it means",
    "Condition",
    "Fields",
    "Example",
    "What the holder can do",
    "What the owner can do",
    "What client libraries do",
]
codes = pytest.mark.parametrize("code", RefusalCode, ids=lambda code: code.name)
emitted = pytest.mark.parametrize("code", [code for code in RefusalCode if code.name in SCENES], ids=lambda c: c.name)


@dataclass(frozen=True, slots=True)
class Page:
    """A page cut into its table, its sections and its examples."""

    title: str
    facts: dict[str, str]
    sections: dict[str, str]

    @property
    def examples(self) -> list[Any]:
        blocks = re.findall(r"```json\n(.*?)```", self.sections["Example"], re.DOTALL)
        return [msgspec.json.decode(block) for block in blocks]


@cache
def page(name: str) -> Page:
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    head, *parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    rows = re.findall(r"^\| ([^|]+) \| (.+) \|$", head, re.MULTILINE)
    return Page(
        title=head.splitlines()[0].removeprefix("# "),
        facts=dict(rows),
        sections=dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True)),
    )


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, list[Answer]]]:
    """What a running Remit answered in every scene."""
    with System(settings=SETTINGS, environment={"REMIT_CLOCK_AT": CLOCK_AT}) as system:
        yield play(Stage(system))


def test_codes_and_pages_are_the_same() -> None:
    """Every code has a page and every page a code."""
    pages = {path.stem for path in FOLDER.glob("*.md")} - {"README"}
    assert pages == {code.name for code in RefusalCode}


@codes
def test_a_page_states_what_the_code_is(code: RefusalCode) -> None:
    """Title, status, transience and precedence on the page are those of the code, and no section is missing."""
    told = page(code.name)
    assert told.title == f"`{code.name}`"
    assert told.facts["title"] == code.title
    assert int(told.facts["status"][:3]) == code.default_status
    assert told.facts["transient"].startswith("yes" if code.default_transient else "no")
    assert told.facts["precedence"] == f"{code.precedence + 1} of {len(RefusalCode)}"
    assert list(told.sections) == SECTIONS
    assert all(told.sections.values())


def test_the_index_lists_the_codes_in_their_order() -> None:
    """The index has one row for each code, in the order of precedence, with its status, transience and title."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| \[`(\w+)`\]\((\w+)\.md\) \| ([^|]+) \| ([^|]+) \| (.+) \|$", text, re.MULTILINE)
    assert [row[1] for row in rows] == [code.name for code in RefusalCode]
    for code, (number, _, link, status, transient, title) in zip(RefusalCode, rows, strict=True):
        assert (int(number), link, title) == (code.precedence + 1, code.name, code.title)
        assert int(status[:3]) == code.default_status
        assert transient == page(code.name).facts["transient"]


@codes
def test_a_code_is_reachable_or_the_page_says_that_it_is_not(code: RefusalCode) -> None:
    """What the page says of this release agrees with whether a scene reaches the code."""
    said = page(code.name).facts["emitted by this release"]
    assert said.startswith(("yes", "in part")) if code.name in SCENES else said == "no"


@emitted
def test_a_scene_is_refused_with_its_code(code: RefusalCode, answers: dict[str, list[Answer]]) -> None:
    """A real request meets the refusal, in the body, in the header, and with a status that the page lists."""
    for answer in answers[code.name]:
        remit = answer.body["error"]["remit"]
        assert (remit["code"], answer.headers["remit-refused"]) == (code.name, code.name)
        assert answer.status == remit["status"]
        assert str(answer.status) in page(code.name).facts["status"]


@emitted
def test_examples_are_what_the_code_answers(code: RefusalCode, answers: dict[str, list[Answer]]) -> None:
    """The examples of a page are the answers of its scenes, but for ids and the passing of time."""
    produced = [without_chance(answer.body) for answer in answers[code.name]]
    assert [without_chance(example) for example in page(code.name).examples] == produced


@emitted
def test_a_page_names_the_fields_that_are_filled_in(code: RefusalCode, answers: dict[str, list[Answer]]) -> None:
    """The first paragraph about fields names those the scenes' answers have, besides those of every refusal."""
    told = set(re.findall(r"`(\w+)`", page(code.name).sections["Fields"].partition("\n\n")[0]))
    filled = {
        name
        for answer in answers[code.name]
        for name, value in answer.body["error"]["remit"].items()
        if value is not None and name not in COMMON
    }
    assert told == filled


@emitted
def test_sdks_do_what_the_page_says(code: RefusalCode, answers: dict[str, list[Answer]]) -> None:
    """The official SDK raises the exception that the page names, and tries again by itself only where it says so."""
    said = page(code.name).facts
    client: Any = openai.OpenAI(api_key="unused", base_url="http://127.0.0.1:1")
    request = httpx.Request("POST", "http://127.0.0.1:1/v1/chat/completions")
    for answer in answers[code.name]:
        response = httpx.Response(answer.status, headers=answer.headers, request=request, content=b"")
        raised = client._make_status_error_from_response(response)
        assert f"`{type(raised).__name__}`" in said["OpenAI's SDKs raise"]
        again = client._should_retry(response)
        assert again == said["and try again by themselves"].startswith("yes")


def test_the_index_lists_every_field_and_header(answers: dict[str, list[Answer]]) -> None:
    """The index explains every field of a refusal and every header that is ours."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for answer in (answer for group in answers.values() for answer in group):
        for name in answer.body["error"]["remit"]:
            assert f"`{name}`" in text
        for name in answer.headers:
            if name.startswith(("remit-", "x-")) or name in {"retry-after", "www-authenticate"}:
                assert f"`{name}" in text
