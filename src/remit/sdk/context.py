"""Which capability and which tags are current: by context, so that tasks and threads do not meet.

A context variable follows asyncio tasks and `asyncio.to_thread` by itself; a thread that is started in another way begins
with none, unless it runs in `contextvars.copy_context()`.
"""

from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType, TracebackType
from typing import Any, Final, Generic, TypeVar

from remit.kernel.names import TAG_NAME
from remit.sdk.attenuation import attenuate
from remit.sdk.capability import ENVIRONMENT, Capability, as_capability, from_environment
from remit.sdk.errors import CapabilityError

MAX_TAGS: Final = 16
MAX_VALUE_LENGTH: Final = 128
_T = TypeVar("_T")
_NO_TAGS: Mapping[str, str] = MappingProxyType({})
_capability: ContextVar[Capability | None] = ContextVar("remit_capability", default=None)
_tags: ContextVar[Mapping[str, str]] = ContextVar("remit_tags", default=_NO_TAGS)


def current() -> Capability:
    """The capability in use here, else the one in $REMIT_CAPABILITY. Raises CapabilityError where there is none."""
    found = _capability.get() or from_environment()
    if found is None:
        raise CapabilityError("missing", f"no capability is in use: call `remit.use(...)` or set {ENVIRONMENT}")
    return found


def current_tags() -> Mapping[str, str]:
    """The tags of the requests that are sent from here."""
    return _tags.get()


class _Scope(Generic[_T]):
    """Holds a value in a context variable from its entry to its exit, for `with` and `async with` alike."""

    _variable: ContextVar[Any]

    def __init__(self) -> None:
        self._before: Token[Any] | None = None

    def _value(self) -> _T:
        raise NotImplementedError

    def __enter__(self) -> _T:
        if self._before is not None:
            raise RuntimeError("it is entered already: make a new one for each `with`")
        value = self._value()
        self._before = self._variable.set(value)
        return value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._before is not None, "entered before it is left"
        before, self._before = self._before, None
        self._variable.reset(before)

    async def __aenter__(self) -> _T:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


class use(_Scope[Capability]):  # noqa: N801 - reads as the function it is
    """Makes a capability, or an access key, the current one from now on; as `with remit.use(...):`, until the end of that.

    Raises CapabilityError where the text is neither.
    """

    _variable = _capability

    def __init__(self, capability: Capability | str) -> None:
        super().__init__()
        self._chosen = as_capability(capability)
        self._at_once: Token[Any] | None = _capability.set(self._chosen)

    def _value(self) -> Capability:
        # What `__exit__` restores is what was there before the call, not before the `with`.
        if self._at_once is not None:
            _capability.reset(self._at_once)
            self._at_once = None
        return self._chosen

    def __enter__(self) -> Capability:
        return super().__enter__()


class tags(_Scope[Mapping[str, str]]):  # noqa: N801 - reads as the function it is
    """Adds tags to the requests sent inside; the inner ones win. Names that are no identifiers come in a mapping.

    Raises ValueError where a tag cannot be sent: the gateway would refuse every request.
    """

    _variable = _tags

    def __init__(self, given: Mapping[str, str] | None = None, /, **named: str) -> None:
        super().__init__()
        self._own = checked_tags({**(given or {}), **named})

    def _value(self) -> Mapping[str, str]:
        merged = {**_tags.get(), **self._own}
        _check_count(merged)
        return MappingProxyType(merged)

    def __enter__(self) -> Mapping[str, str]:
        return super().__enter__()


class sub_budget(_Scope[Capability]):  # noqa: N801 - reads as the function it is
    """A child of the current capability, current inside: `with remit.sub_budget(usd="0.50", ttl="10m") as capability:`.

    Takes the terms of `attenuate`; any other name is a label of the child, but for one that looks like a term: that is a
    TypeError, because a misspelt limit would be no limit, and such labels go in `labels`. The child is made when the block is
    entered. Raises what `attenuate` raises, and CapabilityError where no capability is in use.
    """

    _variable = _capability

    def __init__(self, *, labels: Mapping[str, str] | None = None, **terms: Any) -> None:
        super().__init__()
        named = {name: terms.pop(name) for name in [*terms] if name not in _TERMS}
        for name in named:
            _check_label_name(name)
        self._terms, self._labels = terms, {**(labels or {}), **named}

    def _value(self) -> Capability:
        return attenuate(current(), labels=self._labels, **self._terms)

    def __enter__(self) -> Capability:
        return super().__enter__()


_TERMS: Final = frozenset(attenuate.__kwdefaults__ or {}) - {"labels"}
# What other libraries call these terms.
_LIKE_TERMS: Final = frozenset(
    {"amount", "budget", "cap", "cents", "dollars", "expires", "limit", "max_usd", "model", "surface"}
)


def _check_label_name(name: str) -> None:
    from difflib import get_close_matches

    near = get_close_matches(name, _TERMS, 1, 0.75)
    if near or name in _LIKE_TERMS:
        meant = f"did you mean `{near[0]}`? " if near else ""
        raise TypeError(
            f'`{name}` is not a term of a budget: {meant}A label of that name goes in `labels={{"{name}": ...}}`'
        )


def checked_tags(given: Mapping[str, str]) -> dict[str, str]:
    """The tags as they are sent; raises ValueError and TypeError for what the header has no way to say."""
    found = {}
    for name, value in given.items():
        if not isinstance(value, str):
            raise TypeError(f"tag `{name}` is a {type(value).__name__}: tags are texts")
        text = value.strip()
        if not TAG_NAME.fullmatch(name):
            raise ValueError(f"tag name `{name[:80]}` does not match `{TAG_NAME.pattern}`")
        if not text or len(text) > MAX_VALUE_LENGTH or not text.isprintable():
            raise ValueError(f"tag `{name}` needs 1 to {MAX_VALUE_LENGTH} printable characters")
        if "," in text:
            raise ValueError(f"tag `{name}` has a comma, which separates tags")
        found[name] = text
    _check_count(found)
    return found


def _check_count(given: Mapping[str, str]) -> None:
    if len(given) > MAX_TAGS:
        raise ValueError(f"{len(given)} tags are more than {MAX_TAGS}")


def tag_header(given: Mapping[str, str], own: str | None = None) -> str | None:
    """The value of the `remit-tags` header, None for no tags. `own` is what a request says by itself, which wins."""
    said = [part.strip() for part in (own or "").split(",") if part.strip()]
    names = {part.partition("=")[0].strip() for part in said}
    return ",".join([*said, *(f"{name}={value}" for name, value in given.items() if name not in names)]) or None
