"""How the vendor is told to behave: defaults through `POST /sim/script`, one call through its own prompt.

An unmodified SDK cannot send a header of ours through a gateway, so a call carries its script in the first line of its
last user message: `sim:` and then JSON or `key=value` pairs, such as `sim: completion_tokens=44 mode=reset_after_chunks:3`.
What a call does not say is taken from the defaults.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

PREFIX: Final = "sim:"
MAX_SCRIPT_CHARS: Final = 4_096
_MAX_CACHED_SCRIPTS: Final = 4_096
_WORDS: Final = " the and for was one two six ten"

Count = Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=3_600_000)]

MODES: Final = frozenset(
    {
        "normal",
        "hang",
        "close_before_head",
        "reset_before_head",
        "reset_after_chunks",
        "error_after_chunks",
        "truncated",
        "garbage",
        "garbage_head",
        "slow_drip",
    }
)


class InvalidScriptError(ValueError):
    """The script has an unknown key or an impossible value; the message names it."""


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Behaviour of the vendor. Counts are tokens, times are milliseconds; `None` means the vendor's own rule.

    `prompt_tokens` is lowered to what the text can have (its UTF-8 bytes and the template) unless `unsound`.
    `completion_tokens` and `reasoning_tokens` are per choice and never above the caller's bound; without
    `completion_tokens` the model talks until the bound stops it.
    """

    prompt_tokens: Count | None = None
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    completion_tokens: Count | None = None
    reasoning_tokens: Count = 0
    content: Literal["text", "refusal", "tool_call"] = "text"
    unsound: bool = False

    latency_ms: Milliseconds = 0
    latency_max_ms: Milliseconds | None = None
    """With it the latency is uniform between `latency_ms` and this, from the seeded generator."""
    chunk_ms: Milliseconds = 0
    pause_after_chunks: Count | None = None
    """A stream that has written so many chunks waits until it is released; a shorter one does not."""
    tokens_per_chunk: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1

    usage: Literal["normal", "absent", "null", "zero_output"] = "normal"
    served_model: str | None = None
    served_tier: str | None = None

    error: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    mode: str = "normal"
    """One of `MODES`; some take a number, as in `reset_after_chunks:3`."""
    billed: bool | None = None
    """Whether a call with a fault is billed; without it only those are whose generation took place."""
    retry_after_ms: Milliseconds | None = None
    first: Count | None = None
    """Only the first calls with this script meet its `error` or `mode`; later ones are answered normally."""
    fault_permille: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 1000
    """How many calls of a thousand meet the `error` or `mode`, by the seeded generator."""
    stop_on_disconnect: bool = False
    """Stop generating and billing when the caller is gone; without it the vendor completes and bills in full."""

    def __post_init__(self) -> None:
        name, _, argument = self.mode.partition(":")
        if name not in MODES or (argument and not (argument.isascii() and argument.isdigit() and len(argument) < 8)):
            raise ValueError(f"`{self.mode}` is not a mode")

    @property
    def has_fault(self) -> bool:
        return self.error is not None or self.mode != "normal"

    def mode_argument(self, default: int) -> int:
        argument = self.mode.partition(":")[2]
        return int(argument) if argument else default


def merged(base: Script, changes: dict[str, Any]) -> Script:
    """The script with these keys changed; values may be texts. Raises InvalidScriptError."""
    try:
        return msgspec.convert({**msgspec.structs.asdict(base), **changes}, Script, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidScriptError(str(error)) from None


def parse_line(line: str) -> dict[str, Any]:
    """The keys of one script line, JSON or `key=value` pairs, without its `sim:`. Raises InvalidScriptError."""
    text = line.strip()
    if len(text) > MAX_SCRIPT_CHARS:
        raise InvalidScriptError(f"longer than {MAX_SCRIPT_CHARS} characters")
    if text.startswith("{"):
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise InvalidScriptError(str(error)) from None
    changes: dict[str, Any] = {}
    for pair in text.split():
        key, equals, value = pair.partition("=")
        if not equals:
            raise InvalidScriptError(f"`{pair}` is not key=value")
        changes[key] = value
    return changes


class ScriptReader:
    """The defaults, and the scripts calls carried, read once each."""

    __slots__ = ("_read", "default")

    def __init__(self) -> None:
        self.default = Script()
        self._read: dict[str, Script] = {}

    def set_default(self, script: Script) -> None:
        self.default = script
        self._read.clear()

    def of(self, message: str) -> tuple[str, Script]:
        """The script line of a user message (empty where it has none) and the behaviour to follow.

        Raises InvalidScriptError.
        """
        if not message.startswith(PREFIX):
            return "", self.default
        line = message[len(PREFIX) :].partition("\n")[0]
        script = self._read.get(line)
        if script is None:
            script = merged(self.default, parse_line(line))
            if len(self._read) >= _MAX_CACHED_SCRIPTS:
                self._read.clear()
            self._read[line] = script
        return line, script


def script_text(**keys: Any) -> str:
    """A user message that carries this script, such as `script_text(prompt_tokens=374, completion_tokens=44)`.

    It is filled up with `prompt_tokens` words of one token each, so that no sound bound of the prompt, by bytes or by
    an exact tokenizer, is below what the vendor will bill.
    """
    script = merged(Script(), keys)
    line = " ".join(f"{key}={str(value).lower() if isinstance(value, bool) else value}" for key, value in keys.items())
    return f"{PREFIX} {line}\n{words(script.prompt_tokens or 0)}"


def words(tokens: int) -> str:
    """Text of exactly that many tokens, four bytes each, in the o200k and cl100k encodings."""
    return (_WORDS * (tokens // 8 + 1))[: 4 * tokens]
