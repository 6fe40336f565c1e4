"""Every operation of the API's own document, with generated requests of all kinds, over HTTP.

`REMIT_FUZZ_SECONDS` makes it longer (60 by default), `REMIT_FUZZ_SEED` draws other requests. What is drawn depends on the
seed and not on the machine.
"""

import os
import secrets
from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.api.document_ground import GOOD, NEVER_GOOD, Good, Ground
from tests.api.support import Caller, Plane
from tests.api.test_who import OPEN

SECONDS = int(os.environ.get("REMIT_FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("REMIT_FUZZ_SEED", "0"))
DRAWN = max(2, 6 * SECONDS // 60)
AT_BOUNDS = max(10, 20 * SECONDS // 60)
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, missing_required_header, negative_data_rejection, positive_data_acceptance,
    unsupported_method,
]  # fmt: skip
TEXTS = ["\0", "a\0b", "\u202e", "\U0010ffff", "%00", "%2F", "../..", "'; --", "{}", "x" * 600, "-1", "0.5", "1e9"]
INSTANTS = [
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z", "2026-07-01T00:00:00",
]  # fmt: skip
NUMBERS = [-1, 0, 1.5, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30]
HOSTILE: list[Any] = ["", *TEXTS, *INSTANTS, *NUMBERS, True, None, [], {}]
# Reasons for a 400 that no schema states.
UNSAID = (
    "if_match_invalid",  # where nothing stored is changed there is nothing to match
    "idempotency_key_missing",  # `dry_run` needs none
    "got `float`",  # 5.0 is an integer to a schema
    "the character NUL",
    "stands twice",
    "an instant out of range",
    "is not known here",
    "a span ",  # `since` before `until`, both, and no `period` with them
    "dimension_unknown",
    "invalid_request",  # the form of an exchange of tokens is RFC 8693's
)
DRAWN_STATUSES: Counter[int] = Counter()
# What stands in the paths of operations that never succeed here.
NOWHERE = {"kind": "slack", "reconciliation": "rec_none", "month": "2097-01"}
OPERATIONS = sorted({*GOOD, *NEVER_GOOD})


@pytest.fixture(scope="module")
def document(plane: Plane) -> Any:
    """The document as the control plane serves it."""
    schema = schemathesis.openapi.from_dict(plane.nobody.get("/openapi.json").json())
    schema.config.update(base_url=plane.server.url.removesuffix("/v1"))
    schema.config.checks.positive_data_acceptance.expected_statuses = ["2xx", "401", "403", "404", "409", "422"]
    return schema


@pytest.fixture(scope="module")
def ground(plane: Plane) -> Ground:
    return Ground(plane)


class Asker:
    """Asks one operation, holds every answer against the document, and counts statuses."""

    def __init__(self, plane: Plane, operation: Any) -> None:
        self.plane, self.operation = plane, operation
        self.session = requests.Session()
        self.statuses: Counter[int] = Counter()

    def ask(self, case: Case, caller: Caller) -> int:
        token = caller.http.headers.get("authorization")
        headers = {} if token is None else {"Authorization": token}
        response = case.call(session=self.session, headers=headers, allow_redirects=False)
        case.validate_response(response, CHECKS, headers=headers, excluded_checks=_tolerated(case, response))
        self.statuses[response.status_code] += 1
        return int(response.status_code)

    def good(self, good: Good) -> Case:
        """The request that succeeds."""
        body = {"reason": "document", **good.body} if self._takes("reason") else good.body
        more = {"body": body, "media_type": "application/json"} if self.operation.body else {}
        made: Case = self.operation.Case(path_parameters=good.path, query=good.query, headers=self._key(), **more)
        return made

    def mixed(self, case: Case, good: Good, random: Random) -> Case:
        """A drawn request with parts of the one that succeeds and a few hostile values: what is behind the first check is asked too."""
        if random.random() < 0.3:
            return self.good(good)
        case.path_parameters = {
            name: good.path[name] if name in good.path and random.random() < 0.8 else value
            for name, value in (case.path_parameters or {}).items()
        }
        case.query = {**_some(case.query or {}, random, 0.7), **_some(good.query, random, 0.5)}
        for part in (case.path_parameters, case.query):
            part.update({name: random.choice(TEXTS) for name in part if random.random() < 0.08})
        if isinstance(case.body, dict):
            stated = {"reason": "document", **good.body} if self._takes("reason") else good.body
            body = {**_some(case.body, random, 0.3), **_some(stated, random, 0.85)}
            case.body = _sprinkled(body, random) if random.random() < 0.5 else body
        if random.random() < 0.8:
            kept = {name: value for name, value in (case.headers or {}).items() if name.lower() != "if-match"}
            case.headers = {**kept, **self._key()}
        return case

    def _takes(self, name: str) -> bool:
        return any(name in str(body.definition) for body in self.operation.body)

    def _key(self) -> dict[str, str]:
        known = {one.name.lower() for one in self.operation.headers}
        return {"Idempotency-Key": secrets.token_hex(8)} if "idempotency-key" in known else {}


def _tolerated(case: Case, response: Any) -> list[Any]:
    """What a document cannot say: why a request that fits it is refused all the same, and what a reader lets pass."""
    tolerated = []
    if response.status_code == 400 and any(word in response.text for word in UNSAID):
        tolerated.append(positive_data_acceptance)
    meta = case.meta
    body = None if meta is None else meta.components.get(ParameterLocation.BODY)
    if meta is None or (meta.phase.name == TestPhase.FUZZING and (body is None or body.mode.is_positive)):
        # Drawn parameters go as text, where `True` and 0 may be what they were not; those at their bounds are judged.
        tolerated.append(negative_data_rejection)
    return tolerated


def _some(parts: dict[str, Any], random: Random, share: float) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if random.random() < share}


def _sprinkled(value: Any, random: Random) -> Any:
    """The same with a hostile value in some places."""
    if random.random() < 0.15:
        return random.choice(HOSTILE)
    if isinstance(value, str) and value[4:5] == "-" and random.random() < 0.4:
        return random.choice(INSTANTS)
    if isinstance(value, dict):
        return {name: _sprinkled(one, random) for name, one in value.items()}
    return [_sprinkled(one, random) for one in value] if isinstance(value, list) else value


def test_every_operation_is_asked(document: Any) -> None:
    """The tables know every operation of the document, and which of them cannot succeed here."""
    stated = {(one.ok().method.upper(), one.ok().path.removeprefix("/v1")) for one in document.get_all_operations()}
    assert stated == set(OPERATIONS)


@pytest.mark.timeout(max(120, SECONDS * 10))
@pytest.mark.parametrize(("method", "route"), OPERATIONS)
def test_what_an_operation_answers_is_in_the_document(ground: Ground, document: Any, method: str, route: str) -> None:
    """Whatever is asked by whomever: no failure, only documented answers, in their documented form, and no quiet yes to nonsense."""
    asker = Asker(ground.plane, document[f"/v1{route}"][method])
    try:
        _ask(asker, ground, method, route)
    except BaseException as error:
        again = f"REMIT_FUZZ_SEED={SEED} REMIT_FUZZ_SECONDS={SECONDS}"
        error.add_note(f"again: {again} make test T='tests/api/test_whole_document.py -k \"{method}-{route}\"'")
        raise
    finally:
        asker.session.close()


def _ask(asker: Asker, ground: Ground, method: str, route: str) -> None:
    operation = asker.operation
    make = GOOD.get((method, route), lambda _: Good(path=NOWHERE))
    good = make(ground)
    status = asker.ask(asker.good(good), good.by or ground.admin)
    assert (status < 300) == ((method, route) in GOOD), status
    if not any((method, route.replace("{kind}", "x")) == one for one in OPEN):
        assert asker.ask(asker.good(good), asker.plane.nobody) == 401
    cases = list(
        operation.schema.iter_coverage_cases(
            operation, generation_modes=list(GenerationMode), generation_config=operation.schema.config.generation
        )
    )
    for case in islice(cases, SEED % (1 + len(cases) // AT_BOUNDS), None, 1 + len(cases) // AT_BOUNDS):
        asker.ask(case, ground.admin)
    asker.statuses.clear()
    callers = [ground.admin, ground.admin, ground.owner]

    @seed(SEED)
    @settings(
        max_examples=DRAWN, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        random=st.randoms(use_true_random=False),
    )
    def drawn(case: Case, random: Random) -> None:
        good = make(ground)
        caller = (good.by or random.choice(callers)) if random.random() < 0.9 else asker.plane.nobody
        asker.ask(asker.mixed(case, good, random), caller)

    drawn()
    print(method, route, dict(asker.statuses))
    DRAWN_STATUSES.update(asker.statuses)


def test_drawn_requests_get_past_the_first_check() -> None:
    """Of what was drawn with parts that succeed, a good share did not end at a body that cannot be read or an unknown id."""
    deep = sum(count for status, count in DRAWN_STATUSES.items() if status not in (400, 401, 404))
    assert deep * 5 > DRAWN_STATUSES.total() > 0, DRAWN_STATUSES
