"""Tags of a request: what the issuer fixed wins, what the caller says fills the rest, contradictions are recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from remit.kernel.decisions import GrantClass
from remit.kernel.names import TAG_NAME

MAX_TAGS = 16  # of one source: a header, or the metadata of a body
_NOTHING: Mapping[str, str] = MappingProxyType({})
MAX_VALUE_LENGTH = 128

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
