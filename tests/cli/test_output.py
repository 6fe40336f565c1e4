"""What JSON output is made of."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from remit.cli.output import jsonable
from remit.kernel.decisions import RefusalCode


@dataclass(frozen=True, slots=True)
class _Part:
    code: RefusalCode
    at: datetime


def test_json_holds_plain_data_only() -> None:
    """Dataclasses are objects, instants are texts, and a member of an enumeration is its name, at any depth."""
    instant = datetime(2027, 1, 1, tzinfo=UTC)
    found = jsonable({"parts": [_Part(RefusalCode.grant_inactive, instant)], "code": RefusalCode.paced})
    plain = {"parts": [{"code": "grant_inactive", "at": "2027-01-01T00:00:00Z"}], "code": "paced"}
    assert found == plain and json.loads(msgspec.json.encode(found)) == plain
