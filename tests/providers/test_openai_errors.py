"""Refusals as callers see them."""

import json
import threading
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
import pytest

from remit.kernel.decisions import RefusalCode, Refused
from remit.providers.openai import openai_error

REFUSED = Refused(
    code=RefusalCode.grant_exhausted,
    detail="`acme/search` has used its $1.00 of this month",
    status=402,
    path="acme/search/prod",
    binding_node="acme/search",
    dimension="usd",
    period="month",
    limit=1_000_000_000,
    posted=990_000_000,
    held=5_000_000,
    required=2**53 + 1,
    resets_at=datetime(2026, 12, 1, 6, tzinfo=timezone(timedelta(hours=1))),
    owner="dana@example.com",
    renew_url="https://remit.example/renew",
    policy_ids=("p1",),
    extra={"node": 7, "code": "cannot be replaced"},
)


def test_every_field_of_a_refusal_is_in_the_body() -> None:
    """The `remit` object holds all fields with units, integers and RFC 3339 instants, inside OpenAI's error."""
    error = json.loads(openai_error(REFUSED, request_id="req_1", decision_id="dec_1"))["error"]
    assert (error["type"], error["code"], error["param"]) == ("insufficient_quota", "grant_exhausted", None)
    assert error["message"] == REFUSED.detail
    remit = error["remit"]
    assert {field.name for field in fields(Refused)} - {"extra"} <= remit.keys()
    assert remit["resets_at"] == "2026-12-01T05:00:00Z"
    assert (remit["unit"], remit["required"], remit["node"]) == ("nanousd", 2**53 + 1, 7)
    assert (remit["code"], remit["request_id"], remit["decision_id"]) == ("grant_exhausted", "req_1", "dec_1")


@pytest.mark.parametrize("code", list(RefusalCode))
def test_every_code_has_an_openai_shape(code: RefusalCode) -> None:
    """No refusal falls out of the shape clients parse."""
    error = json.loads(openai_error(Refused(code=code, detail="no"), request_id="req_1"))["error"]
    assert error["code"] == code.name
    assert error["type"]
    assert error["remit"]["status"] == code.default_status


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = openai_error(REFUSED, request_id="req_1")
        self.send_response(402)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Tests are quiet."""


def test_openai_clients_show_the_remit_object() -> None:
    """The official library hands callers the inner error, where the numbers are."""
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        base_url = f"http://127.0.0.1:{server.server_port}/v1"
        client = openai.OpenAI(api_key="x", base_url=base_url, max_retries=0)
        with client, pytest.raises(openai.APIStatusError) as raised:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        thread.join()
    assert raised.value.status_code == 402
    assert raised.value.code == "grant_exhausted"
    assert isinstance(raised.value.body, dict)
    assert raised.value.body["remit"]["binding_node"] == "acme/search"


def test_instants_are_utc() -> None:
    """A reset time already in UTC ends in `Z`."""
    refused = Refused(code=RefusalCode.paced, detail="later", resets_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert json.loads(openai_error(refused, request_id="r"))["error"]["remit"]["resets_at"] == "2026-01-01T00:00:00Z"
