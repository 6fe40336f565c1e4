"""Generated capabilities: every field over its whole range, honest and damaged."""

from dataclasses import replace

from hypothesis import strategies as st

from remit.capabilities.encoding import Frame, FramedBlock
from remit.capabilities.model import LIMIT_PERIODS, Block0, Confirmation, Delegate, HolderBlock, Limit
from remit.capabilities.payload import MAX_INSTANT
from remit.capabilities.rules import public_key_of
from remit.kernel.ids import encode_ulid
from tests.capabilities.vectors import AUDIENCE, NOW, UNTIL

NAME = r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,30}"
LABEL_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


def names(pattern: str) -> st.SearchStrategy[tuple[str, ...] | None]:
    unique = st.lists(st.from_regex(pattern, fullmatch=True), min_size=1, max_size=4, unique=True)
    return st.none() | unique.map(lambda items: tuple(sorted(items)))


limits = st.lists(
    st.builds(
        Limit,
        st.sampled_from(["usd", "tokens", "requests"]),
        st.integers(0, 2**63 - 1) | st.integers(0, 5),
        st.sampled_from(LIMIT_PERIODS),
    ),
    max_size=5,
    unique_by=lambda limit: (limit.dimension, limit.period),
).map(lambda items: tuple(sorted(items, key=lambda limit: (limit.dimension, limit.period))))

confirmations = (
    st.none()
    | st.builds(Confirmation, st.sampled_from(["jkt", "x5t#S256"]), st.just("A" * 43))
    | st.just(Confirmation("spiffe", "spiffe://acme.example/ns/agent"))
)


@st.composite
def secrets_and_blocks(
    draw: st.DrawFn, cnf: st.SearchStrategy[Confirmation | None] = confirmations
) -> tuple[bytes, Block0]:
    """A next secret and a block that names its public key."""
    secret = draw(st.binary(min_size=32, max_size=32))
    not_after = draw(st.integers(1, MAX_INSTANT))
    return secret, Block0(
        grant="grant_" + encode_ulid(draw(st.integers(0, 2**128 - 1))),
        tenant=draw(st.from_regex(NAME, fullmatch=True)),
        epoch=draw(st.integers(0, 2**63 - 1)),
        audience=AUDIENCE,
        issued_at=draw(st.integers(0, not_after - 1)),
        not_before=draw(st.integers(0, not_after - 1)),
        not_after=not_after,
        delegate=Delegate(draw(st.integers(0, 7)), draw(st.integers(0, 2**31 - 1)), draw(st.integers(0, MAX_INSTANT))),
        next_key=public_key_of(secret),
        nonce=draw(st.binary(min_size=16, max_size=16)),
        limits=draw(limits),
        models=draw(names(rf"{NAME}\*?|\*")),
        surfaces=draw(names(r"[a-z0-9][a-z0-9._:/-]{0,12}")),
        labels=draw(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.-]{0,12}", fullmatch=True), LABEL_TEXT, max_size=4)),
        confirmation=draw(cnf),
    )


def usable(block: Block0) -> Block0:
    """The same block without a key to prove."""
    return replace(block, confirmation=None)


framed_blocks = st.builds(FramedBlock, st.binary(min_size=1, max_size=300), st.binary(min_size=64, max_size=64))
frames = st.builds(
    Frame,
    st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True),
    st.lists(framed_blocks, min_size=1, max_size=8).map(tuple),
    st.none() | st.binary(min_size=32, max_size=32),
)


@st.composite
def holder_blocks(draw: st.DrawFn, secrets: list[bytes]) -> tuple[bytes, HolderBlock]:
    """A secret and a holder's block, from few labels, keys and instants, so that rules of the chain are met and broken."""
    secret = draw(st.sampled_from(secrets))
    cnf = [
        None,
        None,
        Confirmation("jkt", "A" * 43),
        Confirmation("jkt", "B" * 42 + "A"),
        Confirmation("x5t#S256", "A" * 43),
    ]
    delegates = st.builds(
        Delegate, st.integers(0, 7), st.sampled_from([0, 1, 50]), st.sampled_from([0, 1, 10**6, MAX_INSTANT])
    )
    return secret, HolderBlock(
        not_after=draw(st.sampled_from([UNTIL, UNTIL, UNTIL - 1, UNTIL + 1, NOW, NOW + 60])),
        next_key=public_key_of(secret),
        nonce=draw(st.binary(min_size=16, max_size=16)),
        limits=draw(limits.map(lambda items: items[:2])),
        models=draw(st.sampled_from([None, ("*",), ("gpt-*",), ("gpt-5.2", "meta/x"), ("a",)])),
        surfaces=draw(st.sampled_from([None, None, ("models",), ("models", "openai.chat")])),
        labels=draw(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), LABEL_TEXT, max_size=1)),
        delegate=draw(st.none() | delegates),
        confirmation=draw(st.sampled_from(cnf)),
    )
