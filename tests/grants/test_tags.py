"""Tags: what the issuer fixed wins, contradictions are seen, and what callers write is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.grants.tags import MAX_TAGS, check_tags, class_contradiction, parse_baggage, parse_tag_header, resolve_tags

NAMES = st.from_regex(r"[a-z][a-z0-9_.-]{0,10}", fullmatch=True)
VALUES = st.text(st.characters(whitelist_categories=("L", "N")), min_size=1, max_size=10)
TAGS = st.dictionaries(NAMES, VALUES, max_size=6)


@given(fixed=TAGS, from_caller=TAGS)
def test_fixed_tags_always_win_and_every_contradiction_is_kept(
    fixed: dict[str, str], from_caller: dict[str, str]
) -> None:
    """No tag of the caller's replaces one of the issuer's, and each attempt is recorded."""
    resolved = resolve_tags(fixed, from_caller, ())
    assert {name: resolved.tags[name] for name in fixed} == fixed
    assert set(resolved.tags) == set(fixed) | set(from_caller)
    assert resolved.conflicts == {n: v for n, v in from_caller.items() if n in fixed and fixed[n] != v}


@given(fixed=TAGS, from_caller=TAGS, required=st.lists(NAMES, max_size=4))
def test_required_tags_are_missing_only_if_nobody_gave_them(
    fixed: dict[str, str], from_caller: dict[str, str], required: list[str]
) -> None:
    """A required tag may come from either side."""
    resolved = resolve_tags(fixed, from_caller, tuple(required))
    assert resolved.missing == tuple(name for name in required if name not in fixed and name not in from_caller)


@pytest.mark.parametrize(
    ("grant_class", "tags", "expected"),
    [
        ("experimentation", {"environment": "production"}, ("environment", "production")),
        ("experimentation", {"environment": " PROD "}, ("environment", " PROD ")),
        ("experimentation", {"class": "production"}, ("class", "production")),
        ("experimentation", {"environment": "staging"}, None),
        ("experimentation", {"feature": "production"}, None),
        ("production", {"class": "experimentation"}, ("class", "experimentation")),
        ("production", {"environment": "eval"}, ("environment", "eval")),
        ("production", {"environment": "production"}, None),
        ("production", {}, None),
    ],
)
def test_words_of_the_other_class_contradict(
    grant_class: str, tags: dict[str, str], expected: tuple[str, str] | None
) -> None:
    """Only `class` and `environment` speak of the class, and only by its words."""
    assert class_contradiction(grant_class, tags) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("team=a, feature = b ", {"team": "a", "feature": "b"}),
        ("a=x=y", {"a": "x=y"}),
        (",,a=b,", {"a": "b"}),
    ],
)
def test_the_header_is_read(text: str, expected: dict[str, str]) -> None:
    """Pairs are separated by commas; spaces around names and values do not count."""
    assert parse_tag_header(text) == expected


@pytest.mark.parametrize(
    "text",
    ["team", "team=a,team=b", "Team=a", "=a", "a=", "a=\x07", "a=" + "x" * 129, ",".join(f"t{i}=v" for i in range(17))],
)
def test_a_header_that_cannot_be_read_says_why(text: str) -> None:
    """Anything else is answered with a sentence instead of tags."""
    assert isinstance(parse_tag_header(text), str)


@given(st.text(max_size=300))
def test_any_text_is_either_good_tags_or_a_sentence(text: str) -> None:
    """Parsing never raises, and what it accepts passes its own check."""
    parsed = parse_tag_header(text)
    if isinstance(parsed, dict):
        assert check_tags(parsed) is None
        assert len(parsed) <= MAX_TAGS


def test_baggage_is_read_as_hints() -> None:
    """Members of ours that can be tags count, the first of a name; whatever else is there is left alone."""
    text = "remit.tag.team=smart%20search;p=1 , other=x,remit.tag.team=late,remit.tag.BAD=1,remit.tag.x=%ff,remit.tag.y=%0a"
    assert parse_baggage(text) == {"team": "smart search"}
    many = ",".join(f"remit.tag.t{number}=v" for number in range(20))
    assert len(parse_baggage(many)) == 16
    assert parse_baggage("remit.tag.a=" + "x" * 129) == {}
    assert parse_baggage("remit.tag.a=1," + "z" * 8192) == {}
