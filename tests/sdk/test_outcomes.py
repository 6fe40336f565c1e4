"""Outcomes said by the SDK, to a real control plane."""

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from remit.sdk import OutcomeError, outcome_event, send_outcomes
from tests.api.support import Plane

JUNE = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def plane() -> Iterator[Plane]:
    with Plane() as running:
        running.admin.made("acme", 100)
        yield running


def test_an_event_is_a_cloudevent_that_says_no_more_than_it_was_told() -> None:
    """What is left out is not in it; instants have their offset."""
    made = outcome_event("k", "1", "failure", source="ci", id="a", grant="acme", time=JUNE)
    assert made == {
        "specversion": "1.0", "type": "remit.outcome.v1", "source": "ci", "id": "a", "subject": "1",
        "time": "2026-06-01T00:00:00+00:00", "datacontenttype": "application/json",
        "data": {"kind": "k", "status": "failure", "grant": "acme"},
    }  # fmt: skip
    for wrong in ({"time": JUNE.replace(tzinfo=None)}, {"window": (JUNE, JUNE.replace(tzinfo=None))}):
        with pytest.raises(ValueError, match="offset"):
            outcome_event("k", "1", "failure", source="ci", id="a", grant="acme", **wrong)  # type: ignore[arg-type]


def test_events_are_sent_and_recorded_once(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every field it has; sent again they are known; where and with what can come by environment."""
    made = plane.admin.write("POST", "/tokens", {"purpose": "ci", "scope": "outcomes:assert"})
    now = plane.authority.clock.now()
    events = [
        outcome_event("k", "1", "success", source="ci", id="a", grant="acme", time=now, tags={"ticket": "1"}, traces=["a" * 32],
                      operations=["op_1"], window=(now - timedelta(days=1), now), value_nanousd=5, weight_ppm=7,
                      evidence_url="https://ci.example/1"),
        outcome_event("k", "2", "pending", source="ci", id="b", grant="acme"),
    ]  # fmt: skip
    monkeypatch.setenv("REMIT_API_TOKEN", made.json()["secret"])
    assert [one["is_new"] for one in send_outcomes(events, url=plane.server.url)] == [True, True]
    monkeypatch.setenv("REMIT_API_URL", plane.server.url)
    assert [one["is_new"] for one in send_outcomes(events[:1])] == [False]
    (kept, _) = plane.admin.get("/outcomes").json()["events"]
    assert [join["kind"] for join in kept["joins"]] == ["operation", "tag", "trace", "window"]
    assert (kept["value_nanousd"], kept["weight_ppm"], kept["evidence_url"]) == (5, 7, "https://ci.example/1")


def test_what_is_refused_says_why(plane: Plane) -> None:
    """With the control plane's code and sentence; nothing is recorded."""
    event = outcome_event("k", "1", "success", source="ci", id="refused", grant="nowhere")
    with pytest.raises(OutcomeError, match="there is no grant `nowhere`") as raised:
        send_outcomes([event], url=plane.server.url, token=plane.token("eve@x.example").text)
    assert (raised.value.status, raised.value.code) == (404, "grant_unknown")


@pytest.mark.parametrize(
    ("url", "token", "word"),
    [
        ("", "x", "REMIT_API_URL"),
        ("http://remit.example", "x", "https, or http on loopback"),
        ("ftp://localhost", "x", "https, or http on loopback"),
        ("https://localhost", "", "REMIT_API_TOKEN"),
        ("https://localhost", "a\r\nx: y", "REMIT_API_TOKEN"),
        ("http://127.0.0.1:9", "x", "did not answer"),
    ],
)
def test_a_token_is_sent_nowhere_else(url: str, token: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the clear over a network, and not to nobody."""
    for name in ("REMIT_API_URL", "REMIT_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OutcomeError, match=word):
        send_outcomes([], url=url, token=token)


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Sends whoever asks somewhere else, and remembers what was asked."""

    asked: list[str] = []  # noqa: RUF012 - of the one server

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("location", "/v1/stolen")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        return


def test_a_redirect_is_not_followed() -> None:
    """The token stays with whom it was shown to."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(OutcomeError, match="302") as raised:
            send_outcomes([], url=f"http://127.0.0.1:{server.server_port}", token="x")
        assert raised.value.status == 302 and Elsewhere.asked == ["/v1/outcomes"]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
