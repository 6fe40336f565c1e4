"""Tags of a request: what the issuer fixed wins, what the caller says fills the rest, contradictions are recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import unquote

from remit.kernel.decisions import GrantClass
from remit.kernel.names import TAG_NAME

MAX_TAGS = 16  # of one source: a header, or the metadata of a body
_NOTHING: Mapping[str, str] = MappingProxyType({})
MAX_VALUE_LENGTH = 128
BAGGAGE_PREFIX = "remit.tag."
# What W3C Baggage asks everybody to carry; whoever sends more is not read.
MAX_BAGGAGE_LENGTH = 8192

# Words by which callers say what they are doing. Only these can contradict a class; any other value is just a label.
PRODUCTION_WORDS = frozenset({"production", "prod", "live"})
EXPERIMENTATION_WORDS = frozenset({"experimentation", "experiment", "experimental", "eval", "sandbox"})


@dataclass(frozen=True, slots=True)
class ResolvedTags:
    """`conflicts` are the caller's values that an issuer-fixed tag overrode; `missing` are required and absent."""

    tags: dict[str, str]
    conflicts: dict[str, str]
    missing: tuple[str, ...]


def resolve_tags(
    fixed: Mapping[str, str],
    from_caller: Mapping[str, str],
    required: tuple[str, ...],
    overridden: Mapping[str, str] = _NOTHING,
) -> ResolvedTags:
    """Merges the tags of a request. `overridden` are the caller's own values that others of theirs win over."""
    tags = {**from_caller, **fixed}
    conflicts = {name: value for name, value in from_caller.items() if fixed.get(name, value) != value}
    conflicts = {**{name: value for name, value in overridden.items() if tags.get(name) != value}, **conflicts}
    return ResolvedTags(tags, conflicts, tuple(name for name in required if not tags.get(name)))


def class_contradiction(grant_class: GrantClass, tags: Mapping[str, str]) -> tuple[str, str] | None:
    """The (tag, value) that says the other class than the grant's, if any: tags `class` and `environment`."""
    other = EXPERIMENTATION_WORDS if grant_class == "production" else PRODUCTION_WORDS
    for name in ("class", "environment"):
        value = tags.get(name)
        if value is not None and value.strip().casefold() in other:
            return name, value
    return None


def parse_tag_header(text: str) -> dict[str, str] | str:
    """Tags of a `remit-tags` header, `name=value` separated by commas; a text instead says what is wrong with it."""
    pairs = [part.strip() for part in text.split(",") if part.strip()]
    tags: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            return f"`{pair[:80]}` is not of the form `name=value`"
        if name.strip() in tags:
            return f"tag `{name.strip()[:80]}` is given twice"
        tags[name.strip()] = value.strip()
    return check_tags(tags) or tags


def parse_baggage(text: str) -> dict[str, str]:
    """Tags in W3C baggage: its members `remit.tag.NAME=value`, percent-encoded, of which the first of a name counts.

    Whoever passed the request on may have added to it, so these are hints: what cannot be a tag, and what is one too many, is left
    alone rather than refused.
    """
    tags: dict[str, str] = {}
    if len(text) > MAX_BAGGAGE_LENGTH:
        return tags
    for member in text.split(","):
        key, equals, rest = member.partition("=")
        name = key.strip().removeprefix(BAGGAGE_PREFIX)
        if not equals or name == key.strip() or name in tags:
            continue
        value = unquote(rest.partition(";")[0].strip(), errors="replace")
        if len(tags) < MAX_TAGS and "\N{REPLACEMENT CHARACTER}" not in value and check_tags({name: value}) is None:
            tags[name] = value
    return tags


def check_tags(tags: Mapping[str, str]) -> str | None:
    """What is wrong with tags given by a caller, or None."""
    if len(tags) > MAX_TAGS:
        return f"{len(tags)} tags are more than {MAX_TAGS}"
    for name, value in tags.items():
        if not TAG_NAME.fullmatch(name):
            return f"tag name `{name[:80]}` does not match `{TAG_NAME.pattern}`"
        if not value.strip() or len(value) > MAX_VALUE_LENGTH or not value.isprintable():
            return f"tag `{name}` needs 1 to {MAX_VALUE_LENGTH} printable characters"
    return None
