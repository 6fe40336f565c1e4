"""Whether waiting helps, who has a part in an overdraft, and answers of a vendor that nobody can read."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.conformance.support import DIME, HELLO, ask, dime, open_stream, read_raw
from tests.system.harness import System, root


@pytest.mark.parametrize("rate", [{"rpm": 0}, {"concurrency": 0}, {"tpm": 10}])
def test_a_rate_that_never_has_room_says_so(system: System, name: str, rate: dict[str, int]) -> None:
    """A call that would not fit an empty minute is told not to wait: no retry, and not transient."""
    system.apply({name: root("5.00", rate=rate)})
    answer = ask(system, system.key(name), dime())
    assert (answer.status, answer.code, answer.remit["transient"]) == (429, "rate_limited", False)
    assert "retry-after" not in answer.headers and answer.headers["x-should-retry"] == "false"


def test_a_cap_of_zero_is_not_waited_for(system: System, name: str) -> None:
    """A monthly cap of nothing is as empty next month: 402, also for a call that costs nothing."""
    system.apply({name: root("0.00")})
    answer = ask(system, system.key(name), {"model": "sim-dime", "messages": HELLO, "max_tokens": 1})
    assert (answer.status, answer.remit["transient"]) == (402, False)


def test_a_call_that_fits_next_month_with_the_overdraft_may_wait(system: System, name: str) -> None:
    """What the limit and its overdraft admit together is only a matter of time once they are used up."""
    system.apply({name: root("0.10", overdraft={"usd": "0.20"})})
    key = system.key(name)
    assert [ask(system, key, dime(3)).code for _ in range(2)] == ["served", "grant_exhausted"]
    answer = ask(system, key, dime(2))
    assert (answer.status, answer.remit["transient"]) == (429, True)
    system.reconcile_with_vendor(name)


def test_an_experiment_has_no_part_in_an_overdraft(system: System, name: str) -> None:
    """Below a production grant with an overdraft an experiment spends the grant's own money, production both."""
    children = {
        "lab": {"owner": "lab@acme.example", "class": "experimentation"},
        "live": {"owner": "live@acme.example"},
    }
    system.apply({name: root("0.20", overdraft={"usd": "0.20"}, children=children)})
    lab, live = system.key(f"{name}/lab"), system.key(f"{name}/live")
    assert [ask(system, lab, dime()).code for _ in range(3)] == ["served", "served", "grant_exhausted"]
    refused = ask(system, lab, dime())
    assert refused.status == 429 and "overdraft" not in refused.remit["detail"]
    assert [ask(system, live, dime()).code for _ in range(3)] == ["served", "served", "grant_exhausted"]
    debts = [entry for path in ("lab", "live") for entry in system.entries(f"{name}/{path}")]
    assert sum(entry["amount_nanousd"] for entry in debts if entry["kind"] == "overdraft") == 2 * DIME
    assert {entry["class"] for entry in debts if entry["kind"] == "overdraft"} == {"production"}
    system.reconcile_with_vendor(name)


Said = tuple[int, str, bytes, dict[str, str]]
ODD: dict[str, Said] = {
    "latin-1 in an answer": (200, "application/json", b'{"id":"caf\xe9","usage":null}', {}),
    "latin-1 in an error": (400, "application/json", b'{"error":{"message":"caf\xe9"}}', {}),
    "latin-1 in a stream": (200, "text/event-stream", b'data: {"id":"\xff"}\n\ndata: [DONE]\n\n', {}),
    "a page of a proxy": (500, "text/html", b"<h1>bad gateway</h1>", {}),
    "a page that says it is fine": (200, "text/html", b"<h1>log in</h1>", {}),
    "a redirect": (302, "text/plain", b"", {"location": "http://127.0.0.1:1/"}),
    "compressed": (200, "application/json", b"\x1f\x8b", {"content-encoding": "gzip"}),
    "slow down": (429, "application/json", b'{"error":{"message":"slow"}}', {"retry-after": "7"}),
}


@contextmanager
def odd_vendor(said: list[Said]) -> Iterator[str]:
    """A vendor that answers every call with the last thing in the list; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, kind, body, headers = said[-1]
            self.send_response(status)
            for header, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
                self.send_header(header, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_answers_that_nobody_can_read_end_like_any_other() -> None:
    """Whatever a vendor sends, its caller gets an answer of this surface's shape, and no hold stays open."""
    said: list[Said] = []
    with odd_vendor(said) as url, System(vendor_url=url) as system:
        system.apply({"odd": root("500.00")})
        key = system.key("odd")
        for what, answer in ODD.items():
            said.append(answer)
            plain = ask(system, key, dime())
            expected = answer[0] if answer[0] >= 400 or "latin-1" in what else 502
            assert plain.status == (502 if "stream" in what else expected), what
            assert plain.headers["content-type"].startswith("application/json"), what
            assert plain.headers["remit-cost-nanousd"] == ("0" if plain.status in (400, 429) else str(DIME)), what
            assert plain.headers.get("retry-after") == ("7" if what == "slow down" else None), what
            streamed = read_raw(open_stream(system, key, dime()))
            assert streamed.status == expected, what
            assert system.open_holds() == 0, what
        assert "Traceback" not in system.log.read_text()
        system.assert_books_agree()
