"""The server as HTTP: limits, framing, bad input, the admin surface, the process."""

import asyncio
import csv
import io
import json
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remit.testing.clock import ManualClock
from remit.testing.vendor_sim import VendorError, VendorProcess, VendorSim, words

CHAT = {"model": "sim-dime", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
BODY = msgspec.json.encode(CHAT)
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\n"
REQUEST = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


def exchange(vendor: VendorProcess, data: bytes) -> bytes:
    """Send, close the sending side, read to the end."""
    host, port = vendor.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
        return received


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"model":',
        b'{"model":5}',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"model":"\\ud800"}',
        b'{"model":"\\ud800","messages":[]}',
        b'{"model":"gpt-4o","messages":[{"role":"user","content":["x"]}]}',
    ],
)
def test_a_bad_body_is_a_clean_400(vendor: VendorProcess, content: bytes) -> None:
    """What is not a chat request gets OpenAI's error object, and the connection stays usable."""
    with httpx.Client() as client:
        answer = client.post(f"{vendor.base_url}/chat/completions", content=content)
        assert answer.status_code in {400, 404}
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert client.post(f"{vendor.base_url}/chat/completions", content=BODY).status_code == 200
    assert vendor.books().rows == 1


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_no_bytes_harm_the_vendor(vendor_process: VendorProcess, content: bytes) -> None:
    """Random bytes as the body, and as the whole request, get an answer or a closed connection."""
    answer = httpx.post(f"{vendor_process.base_url}/chat/completions", content=content)
    assert answer.status_code in {400, 404}
    exchange(vendor_process, content + b"\r\n\r\n")
    assert vendor_process.inflight() == 0


def test_pipelined_requests_are_answered_in_order(vendor: VendorProcess) -> None:
    """Requests sent at once get their answers one after another, also when the first takes longer."""
    slow = BODY.replace(b'"hi"', b'"sim: latency_ms=50"')
    first = HEAD + b"content-length: %d\r\n\r\n" % len(slow) + slow
    last = REQUEST.replace(b"host", b"connection: close\r\nhost")
    host, port = vendor.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(first + REQUEST * 40 + last)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 42
    ids = [part.split(b'"')[0] for part in received.split(b'"id":"')[1:]]
    assert [row.vendor_request_id.encode() for row in vendor.rows()] == ids


def test_a_body_may_come_in_chunks(vendor: VendorProcess) -> None:
    """A request with chunked transfer encoding is read like any other."""
    answer = httpx.post(f"{vendor.base_url}/chat/completions", content=iter([BODY[:9], BODY[9:]]))
    assert answer.status_code == 200


def test_expect_continue(vendor: VendorProcess) -> None:
    """A caller that waits for `100 Continue` gets it before the answer."""
    data = REQUEST.replace(b"host", b"expect: 100-continue\r\nconnection: close\r\nhost")
    assert exchange(vendor, data).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("stream", [False, True])
def test_an_old_caller_gets_no_frames(vendor: VendorProcess, *, stream: bool) -> None:
    """HTTP/1.0 has no chunked bodies: the end of the connection ends the answer."""
    content = msgspec.json.encode({**CHAT, "stream": stream})
    host, port = vendor.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)
        )
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert b"transfer-encoding" not in received
    assert received.endswith(b"data: [DONE]\n\n" if stream else b"}")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (HEAD + b"x-long: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (HEAD + b"content-length: 40000000\r\n\r\n" + b" " * 34_000_000, 413),
    ],
)
def test_requests_that_cannot_be_read_close_the_connection(vendor: VendorProcess, data: bytes, status: int) -> None:
    """Malformed or oversized requests get a 4xx and the end of the connection."""
    host, port = vendor.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        try:
            connection.sendall(data)
            received = connection.recv(65_536)
        except (BrokenPipeError, ConnectionResetError):  # it stops reading once it knows
            assert len(data) > 60_000
        else:
            assert received.startswith(b"HTTP/1.1 %d " % status)
    assert vendor.books().requests == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("POST", "/v1/embeddings", 404),
        ("GET", "/", 404),
        ("GET", "/sim/nothing", 404),
        ("POST", "/sim/books", 404),
        ("GET", "/sim/books/rows?after=x", 400),
    ],
)
def test_other_routes(vendor: VendorProcess, method: str, path: str, status: int) -> None:
    """What the vendor does not offer is an error in OpenAI's shape."""
    answer = httpx.request(method, vendor.url + path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_the_statement_has_a_line_for_each_row(vendor: VendorProcess) -> None:
    """`/sim/books.csv` and the pages of `/sim/books/rows` hold the same rows."""
    with httpx.Client() as client:
        for number in range(5):
            client.post(
                f"{vendor.base_url}/chat/completions", content=BODY, headers={"x-client-request-id": f'"{number},'}
            )
    lines = list(csv.DictReader(io.StringIO(vendor.statement_csv())))
    rows = vendor.rows()
    assert [int(line["amount_nanousd"]) for line in lines] == [row.amount_nanousd for row in rows] == [100_000_000] * 5
    assert [line["client_request_id"] for line in lines] == [f'"{number},' for number in range(5)]
    assert [datetime.fromisoformat(line["received_at"]) for line in lines] == [row.received_at for row in rows]
    page = msgspec.json.decode(vendor.get("/sim/books/rows?after=1&limit=2"))
    assert ([row["sequence"] for row in page["rows"]], page["next_after"]) == ([2, 3], 3)
    assert [row.sequence for row in vendor.rows(after=3)] == [4, 5]
    assert "sim-dime" in msgspec.json.decode(vendor.get("/sim/prices"))["models"]


@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")  # of the tokenizer package
def test_the_text_has_as_many_tokens_as_it_says() -> None:
    """The words the model speaks are one token each for the real tokenizers."""
    import bpe_openai

    for name in ("o200k_base", "cl100k_base"):
        encoding = bpe_openai.get_encoding(name)
        assert [len(encoding.encode(words(count))) for count in (0, 1, 7, 8, 9, 1000)] == [0, 1, 7, 8, 9, 1000]


def test_a_vendor_inside_the_loop_stamps_by_its_clock() -> None:
    """In process the books take their instants from the clock that was handed in, and ids from the seed."""

    async def scenario() -> tuple[str, datetime]:
        async with VendorSim(seed=3, clock=ManualClock(datetime(2026, 3, 1, tzinfo=UTC))) as vendor:
            async with httpx.AsyncClient() as client:
                answer = await client.post(f"{vendor.base_url}/chat/completions", json=CHAT)
            await vendor.wait_idle()
            assert answer.json()["created"] == 1_772_323_200
            assert vendor.summary().total_nanousd == 100_000_000
            row = vendor.books.rows[0]
            return row.vendor_request_id, row.received_at

    assert asyncio.run(scenario()) == asyncio.run(scenario())
    assert asyncio.run(scenario())[1] == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_vendor_with_a_key_takes_no_other() -> None:
    """With an API key the chat and model routes need it; the admin surface does not."""
    with VendorProcess(api_key="sk-right") as vendor:
        for key, status in (("sk-wrong", 401), ("sk-right", 200)):
            headers = {"authorization": f"Bearer {key}"}
            answer = httpx.post(f"{vendor.base_url}/chat/completions", content=BODY, headers=headers)
            assert answer.status_code == status
            assert httpx.get(f"{vendor.base_url}/models", headers=headers).status_code == status
        assert vendor.books().rows == 1


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/sim/books").status_code == 200
    except httpx.TransportError:
        return False


def test_the_process_ends_with_its_parent(tmp_path: Path) -> None:
    """When the process that started it is killed the vendor stops by itself."""
    code = (
        "import time\nfrom remit.testing.vendor_sim import VendorProcess\n"
        "vendor = VendorProcess()\nprint(vendor.url, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert answers(url)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60
    while answers(url):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_command_line(tmp_path: Path) -> None:
    """It prints its URL, writes its port, serves the price list of a file, and stops with exit code 0."""
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"models": {"house-model": {"input": "1", "output": "2"}}, "replace": True}))
    port_file = tmp_path / "port"
    command = [sys.executable, "-m", "remit.testing.vendor_sim", "--prices", str(prices), "--port-file", str(port_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url == f"http://127.0.0.1:{port_file.read_text().strip()}"
        assert [model["id"] for model in httpx.get(f"{url}/v1/models").json()["data"]] == ["house-model"]
        process.terminate()
        assert process.wait(60) == 0
    prices.write_text("[]")
    bad = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "not a price list" in bad.stderr


def test_a_vendor_that_cannot_start_says_so(tmp_path: Path) -> None:
    """A price list that does not exist is an error of the starter, not a hang."""
    with pytest.raises(VendorError, match="exit code 2"):
        VendorProcess(prices=tmp_path / "missing.json")
