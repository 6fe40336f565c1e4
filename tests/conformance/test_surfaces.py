"""Every billable surface is metered or refused: all but chat completions are refused, and nothing is passed on."""

from collections.abc import Callable, Iterator

import openai
import pytest

from remit.testing.vendor_sim import VendorProcess
from tests.conformance.support import DIME, HELLO, Tap, ask, dime
from tests.system.harness import System, root

UNMETERED = [
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/messages"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/moderations"),
    ("POST", "/v1/images/generations"),
    ("POST", "/v1/audio/speech"),
    ("POST", "/v1/audio/transcriptions"),
    ("POST", "/v1/files"),
    ("POST", "/v1/batches"),
    ("POST", "/v1/fine_tuning/jobs"),
    ("POST", "/v1/rerank"),
    ("POST", "/openai/v1/chat/completions"),
    ("POST", "/openai/deployments/sim-dime/chat/completions"),
    ("POST", "/v1beta/models/sim-dime:generateContent"),
    ("POST", "/v1/chat/completions/"),
    ("POST", "//v1/chat/completions"),
    ("POST", "/v1/./chat/completions"),
    ("POST", "/V1/chat/completions"),
    ("POST", "/v1/chat/completions%20"),
    ("POST", "/v1/models"),
    ("PUT", "/v1/chat/completions"),
    ("PATCH", "/v1/chat/completions"),
    ("DELETE", "/v1/chat/completions"),
    ("GET", "/v1/realtime"),
    ("GET", "/anything"),
    ("GET", "/"),
]
CALLS: dict[str, Callable[[openai.OpenAI], object]] = {
    "embeddings": lambda client: client.embeddings.create(model="sim-dime", input="hello"),
    "responses": lambda client: client.responses.create(model="sim-dime", input="hello"),
    "images": lambda client: client.images.generate(model="sim-dime", prompt="hello"),
    "speech": lambda client: client.audio.speech.create(model="sim-dime", voice="alloy", input="hello"),
    "transcription": lambda client: client.audio.transcriptions.create(model="sim-dime", file=("a.wav", b"RIFF")),
    "moderations": lambda client: client.moderations.create(input="hello"),
    "completions": lambda client: client.completions.create(model="sim-dime", prompt="hello"),
    "batches": lambda client: client.batches.list(),
    "files": lambda client: client.files.create(file=("a.jsonl", b"{}"), purpose="batch"),
}


@pytest.fixture(scope="module")
def tapped() -> Iterator[tuple[System, Tap]]:
    """A Remit whose every byte towards the vendor is seen."""
    with VendorProcess() as vendor, Tap(vendor.url) as tap, System(vendor=vendor, vendor_url=tap.url) as system:
        yield system, tap


@pytest.fixture
def key(tapped: tuple[System, Tap]) -> str:
    """A key of a grant with room, and a tap that has seen nothing."""
    system, tap = tapped
    system.apply({"surfaces": root("5.00")})
    tap.sent = b""
    return system.key("surfaces")


@pytest.mark.parametrize(("method", "path"), UNMETERED)
def test_surfaces_that_are_not_metered_are_refused(
    tapped: tuple[System, Tap], key: str, method: str, path: str
) -> None:
    """Anything but the one metered surface is refused `surface_not_allowed`; not a byte goes to the vendor."""
    system, tap = tapped
    answer = ask(system, key, None if method == "GET" else dime(input="hello"), method=method, path=path)
    assert (answer.status, answer.code) == (403, "surface_not_allowed")
    assert answer.remit["path"] == "surfaces" and answer.remit["owner"] == "ada@acme.example"
    assert answer.headers["x-should-retry"] == "false"
    assert (tap.sent, system.open_holds()) == (b"", 0)


@pytest.mark.parametrize("surface", CALLS)
def test_surfaces_of_the_official_sdk_get_a_typed_error(tapped: tuple[System, Tap], key: str, surface: str) -> None:
    """The SDK's other calls raise PermissionDeniedError with the code, and are not tried again."""
    system, tap = tapped
    with system.client(key, max_retries=2) as client, pytest.raises(openai.PermissionDeniedError) as caught:
        CALLS[surface](client)
    assert caught.value.code == "surface_not_allowed"
    assert tap.sent == b""


def test_surfaces_are_refused_to_strangers_first(tapped: tuple[System, Tap], key: str) -> None:
    """Who has no valid key learns nothing about surfaces: 401 everywhere."""
    system, tap = tapped
    for method, path in UNMETERED:
        assert ask(system, None, b"{}", method=method, path=path).code == "unauthenticated"
        assert ask(system, key[:-2] + "xx", b"{}", method=method, path=path).code == "unauthenticated"
    assert tap.sent == b""


def test_surfaces_of_the_grant_bind(tapped: tuple[System, Tap], key: str) -> None:
    """A grant whose surfaces do not include chat completions cannot use them either."""
    system, tap = tapped
    system.apply({"no-chat": root("5.00", shape={"surfaces": ["embeddings"]})})
    assert ask(system, system.key("no-chat"), dime()).code == "surface_not_allowed"
    assert tap.sent == b""


def test_get_is_free(tapped: tuple[System, Tap], key: str) -> None:
    """A stored response is charged once: reading it five times is refused, sends nothing and books nothing."""
    system, tap = tapped
    system.apply({"stored": root("0.10")})
    key = system.key("stored")
    stored = ask(system, key, dime(store=True))
    assert stored.status == 200
    tap.sent = b""
    for _ in range(5):
        for path in (f"/v1/chat/completions/{stored.json['id']}", f"/v1/responses/{stored.json['id']}"):
            answer = ask(system, key, method="GET", path=path)
            assert (answer.code, answer.headers["remit-cost-nanousd"]) == ("surface_not_allowed", "0")
    assert tap.sent == b""
    assert len(system.entries("stored")) == 1
    assert system.spent("stored") == DIME


def test_models_are_listed_free_and_as_the_grant_allows(tapped: tuple[System, Tap], key: str) -> None:
    """`GET /v1/models` lists what the holder could call now, with a spent cap as well, and asks the vendor nothing."""
    system, tap = tapped
    system.apply({"few": root("0.00", shape={"models": ["sim-*", "gpt-4o-mini"]})})
    with system.client(system.key("few")) as client:
        models = {model.id for model in client.models.list()}
    assert {"sim-dime", "sim-tiered", "gpt-4o-mini"} <= models
    assert all(model.startswith("sim-") or model == "gpt-4o-mini" for model in models)
    assert "sim-large" not in models
    with system.client(key) as client:
        assert "gpt-4o" in {model.id for model in client.models.list()}
    assert tap.sent == b""


@pytest.mark.parametrize(
    "field",
    [
        {"web_search_options": {}},
        {"audio": {"voice": "alloy", "format": "wav"}},
        {"modalities": ["text", "audio"]},
        {"prediction": {"type": "content", "content": "x"}},
        {"tools": [{"type": "web_search"}]},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}]},
        {"background": True},
        {"max_output_tokens": 5},
        {"reasoning": {"effort": "high"}},
    ],
)
def test_unknown_or_unbounded_fields_are_refused(
    tapped: tuple[System, Tap], key: str, field: dict[str, object]
) -> None:
    """A field that could bill beyond the bounded ones, or that nobody knows, is refused and not passed on."""
    system, tap = tapped
    answer = ask(system, key, {"model": "sim-dime", "messages": HELLO, "max_tokens": 1, **field})
    assert (answer.status, answer.code) == (400, "shape_exceeded")
    assert (tap.sent, system.open_holds()) == (b"", 0)
