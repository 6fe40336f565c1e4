"""Ids and decisions."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from remit.kernel.decisions import RefusalCode, Refused
from remit.kernel.ids import ALPHABET, encode_ulid, is_id, new_id

_SECONDS = st.integers(0, int(datetime(2500, 1, 1, tzinfo=UTC).timestamp()))
INSTANTS = st.builds(
    lambda seconds, micro: datetime.fromtimestamp(seconds, UTC).replace(microsecond=micro),
    _SECONDS,
    st.integers(0, 999_999),
)

# As documented: the first of these that applies is the answer.
PRECEDENCE = [
    ("malformed_request", 400, False),
    ("unauthenticated", 401, False),
    ("capability_invalid", 401, False),
    ("capability_expired", 401, False),
    ("capability_revoked", 401, False),
    ("proof_required", 401, False),
    ("grant_inactive", 403, False),
    ("grant_expired", 403, False),
    ("surface_not_allowed", 403, False),
    ("model_not_allowed", 403, False),
    ("tags_missing", 400, False),
    ("class_mismatch", 403, False),
    ("policy_forbidden", 403, False),
    ("shape_exceeded", 400, False),
    ("unpriced", 403, False),
    ("rate_limited", 429, True),
    ("paced", 429, True),
    ("grant_exhausted", 402, False),
    ("authority_unreachable", 503, True),
    ("no_deployment", 503, True),
]


@given(INSTANTS, st.timedeltas(timedelta(milliseconds=1), timedelta(days=1000)))
def test_ids_sort_by_the_instant_they_were_made_at(instant: datetime, later: timedelta) -> None:
    """An id made at least a millisecond later sorts later, whatever its random part."""
    assert new_id("hold", instant) < new_id("hold", instant + later)


@given(INSTANTS)
def test_an_id_has_the_shape_it_is_recognised_by(instant: datetime) -> None:
    """A fresh id is one of its kind and of no other."""
    fresh = new_id("grant", instant)
    assert is_id(fresh, "grant") and not is_id(fresh, "hold") and len(fresh) == len("grant_") + 26
    assert not is_id(fresh.upper(), "grant") and not is_id(fresh[:-1], "grant") and not is_id(fresh + "0", "grant")
    assert not is_id("grant_" + "8" + "0" * 25, "grant") and not is_id("grant_" + "u" * 26, "grant")


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_encoding_keeps_order_and_value(left: int, right: int) -> None:
    """The text of a smaller number sorts first, and the number can be read back."""
    texts = encode_ulid(left), encode_ulid(right)
    assert (texts[0] < texts[1]) == (left < right)
    value = 0
    for character in texts[0]:
        value = value * 32 + ALPHABET.index(character)
    assert value == left


def test_ids_made_at_one_instant_differ() -> None:
    """Eighty random bits keep ids of one millisecond apart."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_id("hold", now) for _ in range(1000)}) == 1000


def test_refusal_codes_have_the_documented_order_status_and_permanence() -> None:
    """Precedence, status and whether waiting helps are what the documentation says."""
    assert [(code.name, code.default_status, code.default_transient) for code in RefusalCode] == PRECEDENCE
    assert [code.precedence for code in RefusalCode] == list(range(len(PRECEDENCE)))
    assert len({code.title for code in RefusalCode}) == len(PRECEDENCE)


def test_a_refusal_takes_its_codes_defaults_unless_told() -> None:
    """Status and permanence come from the code; an exhausted grant that refills says 429 and transient."""
    plain = Refused(code=RefusalCode.grant_exhausted, detail="x")
    assert (plain.status, plain.transient) == (402, False)
    refills = Refused(code=RefusalCode.grant_exhausted, detail="x", status=429, transient=True)
    assert (refills.status, refills.transient) == (429, True)
    never = Refused(code=RefusalCode.rate_limited, detail="x", transient=False)
    assert never.transient is False
