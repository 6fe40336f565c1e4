"""Every way a scripted call can go wrong, judged on the socket and on the books."""

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest

from remit.testing.vendor_sim import VendorError, VendorProcess, script_text

FULL = 10 * 2500 + 8 * 10_000
"""Nano-USD of ten prompt and eight completion tokens of gpt-4o."""


def body(script: str, **more: Any) -> bytes:
    message = f"sim: prompt_tokens=10 completion_tokens=8 {script}"
    return msgspec.json.encode({"model": "gpt-4o", "messages": [{"role": "user", "content": message}], **more})


def raw_request(content: bytes) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: %d\r\n\r\n%s" % (len(content), content)


@contextlib.contextmanager
def connected(vendor: VendorProcess) -> Iterator[socket.socket]:
    host, port = vendor.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        yield connection


def ask(vendor: VendorProcess, script: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{vendor.base_url}/chat/completions", content=body(script, **more), timeout=60)


def read_to_end(connection: socket.socket) -> tuple[bytes, bool]:
    """All that comes, and whether it ended in a reset."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionResetError:
        return received, True
    return received, False


def read_chunks(connection: socket.socket, count: int) -> bytes:
    """Reads until so many chunks with content have come."""
    received = b""
    while received.count(b'"content":" ') < count:
        piece = connection.recv(65_536)
        assert piece, received
        received += piece
    return received


def wait_until_the_caller_is_gone(vendor: VendorProcess) -> None:
    """Waits until the vendor has noticed that the caller of its one call hung up."""
    while msgspec.json.decode(vendor.get("/sim/inflight"))["calls"][0]["caller_connected"]:
        time.sleep(0.01)


def outcomes(vendor: VendorProcess) -> list[tuple[str, int]]:
    vendor.wait_idle()
    return [(row.outcome, row.amount_nanousd) for row in vendor.rows()]


@pytest.mark.parametrize(
    ("script", "counts"),
    [
        ("", (10, 0, 0, 8, 0)),
        ("cached_tokens=4", (10, 4, 0, 8, 0)),
        ("cached_tokens=40", (10, 10, 0, 8, 0)),
        ("cached_tokens=4 cache_write_tokens=40", (10, 4, 6, 8, 0)),
        ("reasoning_tokens=3", (10, 0, 0, 8, 3)),
        ("reasoning_tokens=30", (10, 0, 0, 8, 8)),
        ("usage=zero_output", (10, 0, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_stated_as_billed(
    vendor: VendorProcess, script: str, counts: tuple[int, int, int, int, int], *, stream: bool
) -> None:
    """What the answer says it used is what the row has, kind by kind, and overlapping counts stay within their sum."""
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    text = ask(vendor, script, **options).text
    if stream:
        *_, last, done, end = text.split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        answer = msgspec.json.decode(last.removeprefix("data: "))
        assert answer["choices"] == []
    else:
        answer = msgspec.json.decode(text)
    usage = answer["usage"]
    prompt, cached, written, completion, reasoning = counts
    (row,) = vendor.rows()
    assert (row.prompt_tokens, row.cached_tokens, row.cache_write_tokens) == (prompt, cached, written)
    assert (row.completion_tokens, row.reasoning_tokens) == (completion, reasoning)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (prompt, completion)
    assert usage["total_tokens"] == prompt + completion
    assert usage["prompt_tokens_details"]["cached_tokens"] == cached
    assert usage["prompt_tokens_details"].get("cache_write_tokens", 0) == written
    assert usage["completion_tokens_details"]["reasoning_tokens"] == reasoning


@pytest.mark.parametrize("usage", ["absent", "null"])
def test_unstated_usage_is_billed_all_the_same(vendor: VendorProcess, usage: str) -> None:
    """Without a usage object, or with a null one, the work is billed in full."""
    answer = ask(vendor, f"usage={usage}").json()
    assert ("usage" in answer) == (usage == "null")
    assert answer.get("usage") is None
    asked = ask(vendor, f"usage={usage}", stream=True, stream_options={"include_usage": True}).text
    *_, last, done, _ = asked.split("\n\n")
    assert done == "data: [DONE]"
    ending = msgspec.json.decode(last.removeprefix("data: "))
    if usage == "null":
        assert (ending["choices"], ending["usage"]) == ([], None)
    else:
        assert ending["choices"][0]["finish_reason"] == "stop"
        assert '"usage"' not in asked
    assert outcomes(vendor) == [("completed", FULL)] * 2


def test_a_chunk_that_has_no_usage_says_null_when_usage_was_asked_for(vendor: VendorProcess) -> None:
    """With `include_usage` every chunk but the last has `"usage":null`; without it none has the field."""
    events = ask(vendor, "", stream=True, stream_options={"include_usage": True}).text.split("\n\n")[:-2]
    assert [msgspec.json.decode(event[6:])["usage"] is None for event in events] == [True] * 10 + [False]
    assert '"usage"' not in ask(vendor, "", stream=True).text


def test_a_caller_that_hangs_up_mid_stream_pays_for_all_of_it(vendor: VendorProcess) -> None:
    """By default the vendor completes what it began; the row appears once that is done."""
    with connected(vendor) as connection:
        connection.sendall(raw_request(body("chunk_ms=30 pause_after_chunks=2", stream=True)))
        read_chunks(connection, 2)
    wait_until_the_caller_is_gone(vendor)
    assert vendor.rows() == []
    assert vendor.release() == 1
    assert outcomes(vendor) == [("aborted", FULL)]
    (row,) = vendor.rows()
    assert (row.finished_at - row.received_at).total_seconds() > 0.15  # the six chunks that were left


def test_a_caller_that_hangs_up_before_the_head_pays_for_all_of_it(vendor: VendorProcess) -> None:
    """A call that is not streamed is completed and billed as well, streamed ones likewise."""
    for stream in (False, True):
        with connected(vendor) as connection:
            connection.sendall(raw_request(body("latency_ms=600000", stream=stream)))
            vendor.wait_paused()
        wait_until_the_caller_is_gone(vendor)
        assert vendor.release() == 1
        vendor.wait_idle()
    assert outcomes(vendor) == [("aborted", FULL)] * 2


def test_a_vendor_that_stops_with_its_caller_bills_up_to_there(vendor: VendorProcess) -> None:
    """With `stop_on_disconnect` only what was generated is billed: part of the stream, or the prompt alone."""
    with connected(vendor) as connection:
        connection.sendall(raw_request(body("pause_after_chunks=3 stop_on_disconnect=true", stream=True)))
        read_chunks(connection, 3)
    assert outcomes(vendor) == [("aborted", 10 * 2500 + 3 * 10_000)]
    with connected(vendor) as connection:
        connection.sendall(raw_request(body("latency_ms=600000 stop_on_disconnect=true")))
        vendor.wait_paused()
    assert outcomes(vendor)[1] == ("aborted", 10 * 2500)


@pytest.mark.parametrize("chunk_ms", [0, 1])
def test_a_stream_pauses_until_it_is_released(vendor: VendorProcess, chunk_ms: int) -> None:
    """Of eight chunks exactly those before the pause come; the rest comes when the vendor is told to go on."""
    for pause_after in (0, 3, 8):
        vendor.reset()
        with connected(vendor) as connection:
            script = f"chunk_ms={chunk_ms} pause_after_chunks={pause_after}"
            connection.sendall(raw_request(body(script, stream=True)))
            received = connection.recv(1) + read_chunks(connection, pause_after)
            (call,) = msgspec.json.decode(vendor.get("/sim/inflight"))["calls"]
            assert (call["steps_done"], vendor.rows()) == (pause_after, [])
            assert (vendor.release(), vendor.release()) == (1, 0)
            while b"data: [DONE]" not in received:
                received += connection.recv(65_536)
            assert received.count(b'"content":" ') == 8
        assert outcomes(vendor) == [("completed", FULL)]


def test_a_stream_that_ends_before_its_pause_does_not_pause(vendor: VendorProcess) -> None:
    """A pause after more chunks than there are is none, and an answer that is no stream has none."""
    assert ask(vendor, "pause_after_chunks=9", stream=True).text.endswith("data: [DONE]\n\n")
    assert ask(vendor, "pause_after_chunks=1").json()["usage"]["completion_tokens"] == 8
    assert outcomes(vendor) == [("completed", FULL)] * 2


def test_calls_that_wait_out_their_latency_are_released(vendor: VendorProcess) -> None:
    """Ten calls that would wait ten minutes are answered when they are told to, ones that come later are not."""
    with ThreadPoolExecutor(11) as pool:
        answers = [pool.submit(ask, vendor, "latency_ms=600000") for _ in range(10)]
        vendor.wait_paused(10)
        assert vendor.release() == 10
        assert [answer.result().status_code for answer in answers] == [200] * 10
        late = pool.submit(ask, vendor, "latency_ms=600000")
        vendor.wait_paused(1)
        assert not late.done() and vendor.release() == 1
        assert late.result().status_code == 200
    assert outcomes(vendor) == [("completed", FULL)] * 11


def test_a_released_stream_still_meets_its_fault(vendor: VendorProcess) -> None:
    """A pause before a reset is only a pause: the connection is reset where the script says."""
    with connected(vendor) as connection:
        connection.sendall(raw_request(body("mode=reset_after_chunks:3 pause_after_chunks=2", stream=True)))
        received = read_chunks(connection, 2)
        assert vendor.release() == 1
        rest, was_reset = read_to_end(connection)
    assert was_reset and (received + rest).count(b'"content":" ') == 3
    assert outcomes(vendor) == [("aborted", FULL)]


def test_a_huge_stream_nobody_reads_is_billed_when_the_caller_goes(vendor: VendorProcess) -> None:
    """A caller that stops reading holds the stream back; when it goes the call is billed once, in full."""
    with connected(vendor) as connection:
        connection.sendall(raw_request(body("completion_tokens=16000", n=8, stream=True)))
        connection.recv(100)
        done = -1
        while (running := msgspec.json.decode(vendor.get("/sim/inflight"))["calls"][0]["steps_done"]) != done:
            done = running
            time.sleep(0.1)
        assert done < 16_000
    assert outcomes(vendor) == [("aborted", 10 * 2500 + 128_000 * 10_000)]


def test_a_huge_stream_arrives_whole(vendor: VendorProcess) -> None:
    """A slow reader gets every chunk of a stream far larger than the buffers between."""
    with httpx.stream(
        "POST",
        f"{vendor.base_url}/chat/completions",
        content=body("completion_tokens=9000", n=4, stream=True),
        timeout=60,
    ) as response:
        count = 0
        for number, piece in enumerate(response.iter_raw()):
            count += piece.count(b'"content":" ')
            if number < 5:
                time.sleep(0.02)
    assert count > 35_900  # a marker cut in two by the reads is not counted
    assert outcomes(vendor) == [("completed", 10 * 2500 + 36_000 * 10_000)]


@pytest.mark.parametrize("chunk_ms", [0, 5])
def test_a_reset_mid_stream_is_billed(vendor: VendorProcess, chunk_ms: int) -> None:
    """After k content chunks the connection is reset; the vendor bills the whole generation."""
    with connected(vendor) as connection:
        connection.sendall(raw_request(body(f"mode=reset_after_chunks:3 chunk_ms={chunk_ms}", stream=True)))
        received, was_reset = read_to_end(connection)
    assert was_reset
    assert received.count(b'"content":" ') == 3
    assert b"[DONE]" not in received
    assert outcomes(vendor) == [("aborted", FULL)]


def test_a_reset_in_a_json_answer_is_billed(vendor: VendorProcess) -> None:
    """An answer that is not streamed is cut by the reset in the middle of its body."""
    with connected(vendor) as connection:
        connection.sendall(raw_request(body("mode=reset_after_chunks")))
        received, was_reset = read_to_end(connection)
    assert was_reset
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert outcomes(vendor) == [("aborted", FULL)]


@pytest.mark.parametrize(("mode", "resets"), [("close_before_head", False), ("reset_before_head", True)])
def test_a_connection_cut_before_the_head(vendor: VendorProcess, mode: str, *, resets: bool) -> None:
    """Nothing is answered; billed only where the script says so."""
    for billed in ("", "billed=true"):
        with connected(vendor) as connection:
            connection.sendall(raw_request(body(f"mode={mode} {billed}")))
            assert read_to_end(connection) == (b"", resets)
    assert outcomes(vendor) == [("aborted", FULL)]
    assert vendor.rows()[0].status is None


def test_a_hanging_call_is_running_until_the_caller_goes(vendor: VendorProcess) -> None:
    """A vendor that never answers shows the call as running; billed at once where the script says so."""
    for billed, rows in (("", 0), ("billed=true", 1)):
        with connected(vendor) as connection:
            connection.sendall(raw_request(body(f"mode=hang {billed}")))
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            (call,) = msgspec.json.decode(vendor.get("/sim/inflight"))["calls"]
            assert (call["model"], call["caller_connected"]) == ("gpt-4o", True)
        vendor.wait_idle()
        assert len(vendor.rows()) == rows


def test_a_truncated_answer_is_billed(vendor: VendorProcess) -> None:
    """The body ends early: half a JSON document, or a stream in the middle of an event."""
    for stream in (False, True):
        with pytest.raises(httpx.RemoteProtocolError):
            ask(vendor, "mode=truncated:2", stream=stream)
    assert outcomes(vendor) == [("aborted", FULL)] * 2


def test_garbage_is_billed(vendor: VendorProcess) -> None:
    """Noise as the body, or noise in the place of HTTP itself."""
    for stream in (False, True):
        answer = ask(vendor, "mode=garbage", stream=stream)
        assert answer.status_code == 200
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(answer.content)
    with pytest.raises(httpx.RemoteProtocolError):
        ask(vendor, "mode=garbage_head")
    assert outcomes(vendor) == [("aborted", FULL)] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_drip_arrives_whole(vendor: VendorProcess, *, stream: bool) -> None:
    """A right answer in small pieces is right in the end."""
    answer = ask(vendor, "mode=slow_drip:6", stream=stream)
    assert answer.text.endswith("data: [DONE]\n\n") if stream else answer.json()["usage"]["completion_tokens"] == 8
    assert answer.elapsed.total_seconds() > 0.04
    assert outcomes(vendor) == [("completed", FULL)]


def test_an_error_event_ends_a_stream(vendor: VendorProcess) -> None:
    """An error after the head comes as an event, without `[DONE]`."""
    text = ask(vendor, "mode=error_after_chunks:2", stream=True).text
    *_, last, end = text.split("\n\n")
    assert end == ""
    assert msgspec.json.decode(last.removeprefix("data: "))["error"]["type"] == "server_error"
    assert outcomes(vendor) == [("error_billed", FULL)]


def test_another_model_and_tier_than_asked_for(vendor: VendorProcess) -> None:
    """The answer names what served it, and that is what is billed."""
    answer = ask(vendor, "served_model=gpt-4.1 served_tier=priority", service_tier="default").json()
    assert (answer["model"], answer["service_tier"]) == ("gpt-4.1", "priority")
    (row,) = vendor.rows()
    assert (row.requested_model, row.model, row.service_tier) == ("gpt-4o", "gpt-4.1", "priority")
    assert row.amount_nanousd == 10 * 3500 + 8 * 14_000


def test_the_tier_asked_for_is_served_where_it_is_sold(vendor: VendorProcess) -> None:
    """`priority` is billed as such; a tier the model is not sold in, and `auto`, become the default."""
    tiers = [ask(vendor, "", service_tier=tier).json()["service_tier"] for tier in ("priority", "flex", "auto")]
    assert tiers == ["priority", "default", "default"]
    assert [row.amount_nanousd for row in vendor.rows()] == [10 * 4250 + 8 * 17_000, FULL, FULL]


def test_defaults_are_set_over_the_admin_surface(vendor: VendorProcess) -> None:
    """What a call does not say comes from the default script; setting it anew forgets the old one."""
    vendor.script(cached_tokens=4, usage="absent")
    assert "usage" not in ask(vendor, "").json()
    vendor.script(cached_tokens=2)
    assert ask(vendor, "").json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 2
    assert [row.cached_tokens for row in vendor.rows()] == [4, 2]
    with pytest.raises(VendorError, match="no_such_key"):
        vendor.script(no_such_key=1)


def test_faults_by_chance_follow_the_share(vendor: VendorProcess) -> None:
    """About so many of a thousand calls meet the fault; the rest is served."""
    vendor.script(error=503, fault_permille=300)
    with httpx.Client() as client:
        statuses = [
            client.post(f"{vendor.base_url}/chat/completions", content=body("")).status_code for _ in range(200)
        ]
    assert set(statuses) == {200, 503}
    assert 20 < statuses.count(503) < 110
    assert vendor.books().rows == statuses.count(200)


def test_a_script_may_be_json(vendor: VendorProcess) -> None:
    """The first line after `sim:` may be a JSON object, in a content part as well; what follows is filling."""
    content = [{"type": "text", "text": 'sim: {"completion_tokens": 3, "latency_ms": 1}\nrest'}]
    request = {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}
    answer = httpx.post(f"{vendor.base_url}/chat/completions", content=msgspec.json.encode(request)).json()
    assert answer["usage"]["completion_tokens"] == 3


def test_no_more_prompt_tokens_than_the_text_can_have(vendor: VendorProcess) -> None:
    """Scripted prompt tokens stop at the bytes of the text and its template, unless the script is unsound."""
    for script in ("sim: prompt_tokens=5000", "sim: prompt_tokens=5000 unsound=true", script_text(prompt_tokens=5000)):
        request = {"model": "gpt-4o", "messages": [{"role": "user", "content": script}], "max_tokens": 1}
        httpx.post(f"{vendor.base_url}/chat/completions", content=msgspec.json.encode(request))
    bytes_and_template = len("sim: prompt_tokens=5000") + 4 + 8
    assert [row.prompt_tokens for row in vendor.rows()] == [bytes_and_template, 5000, 5000]


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ([""], 1 + 3 + 3),
        (["abcd"], 1 + 3 + 3),
        (["abcde"], 2 + 3 + 3),
        (["äöü"], 2 + 3 + 3),
        (["abcd", "abcd"], 2 + 6 + 3),
    ],
)
def test_prompt_tokens_by_default(vendor: VendorProcess, messages: list[str], tokens: int) -> None:
    """A quarter of the bytes, rounded up, and three for each message and for the reply."""
    request = {"model": "gpt-4o", "messages": [{"role": "user", "content": text} for text in messages], "max_tokens": 1}
    answer = httpx.post(f"{vendor.base_url}/chat/completions", content=msgspec.json.encode(request)).json()
    assert answer["usage"]["prompt_tokens"] == tokens == vendor.rows()[0].prompt_tokens
