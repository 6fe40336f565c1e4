"""The server itself: its document, its bounds, its failures, and its place in `remit up`."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from remit.api.edge import Edge
from remit.api.server import ApiServer
from remit.store.connect import opener
from tests.api.support import ADMIN, SAID, Caller, Plane, refused
from tests.api.test_who import OPEN
from tests.system.harness import System, root


def test_the_document_is_served_and_whole(plane: Plane) -> None:
    """The OpenAPI document is valid JSON, needs no token, and every reference in it leads somewhere."""
    answer = plane.nobody.get("/openapi.json")
    document = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert document["openapi"].startswith("3.1") and document["info"]["title"] == "Remit"
    schemas = document["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', answer.text):
        assert name in schemas
    create = document["paths"]["/v1/grants"]["post"]
    header = next(one for one in create["parameters"] if one["name"] == "Idempotency-Key")
    assert header["in"] == "header" and header["required"] is True
    assert {"400", "401", "403", "404", "409", "422", "201"} <= set(create["responses"])


def test_the_document_says_what_the_routes_take(plane: Plane) -> None:
    """Lists have items of their type, bounds are exact, unknown fields are refused, and open routes need no token."""
    document = plane.nobody.get("/openapi.json").json()
    schemas, paths = document["components"]["schemas"], document["paths"]
    assert schemas["CreateGrant"]["properties"]["limits"]["items"] == {"$ref": "#/components/schemas/LimitBody"}
    assert schemas["LimitBody"]["properties"]["amount"] == {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
    assert schemas["CreateGrant"]["additionalProperties"] is False
    (after,) = [one for one in paths["/v1/trips"]["get"]["parameters"] if one["name"] == "after"]
    assert after["schema"]["maximum"] == 2**63 - 1
    for method, route in OPEN:
        assert paths[f"/v1{route.replace('hooks/x', 'hooks/{kind}')}"][method.lower()]["security"] == []
    assert "security" not in paths["/v1/grants"]["get"] and document["security"] == [{"person": []}]
    assert plane.admin.get("/openapi/openapi.json").json() == document


def test_health_needs_no_token(plane: Plane) -> None:
    """Whoever asks learns that the authority and its database answer, and nothing more."""
    assert plane.nobody.get("/health").json() == {"status": "ok"}


def test_health_answers_on_any_day() -> None:
    """A leap day is a day like any other."""
    with Plane(clock_at="2028-02-29T12:00:00Z") as leap:
        assert leap.nobody.get("/health").json() == {"status": "ok"}


def test_a_failure_says_nothing_but_its_request_id(
    plane: Plane, admin: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw is answered with a request id; the reason is in the log and only there."""

    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(plane.server._services.ledger, "tail", fail)
    answer = admin.get("/ledger/entries")
    problem = refused(answer, 500, "internal_error")
    assert "secret detail" not in answer.text and problem["request_id"] in problem["detail"]
    assert "secret detail" in capsys.readouterr().out


def test_each_request_is_one_line_without_secrets(plane: Plane, capsys: pytest.CaptureFixture[str]) -> None:
    """One line names method, path, status and person; tokens and queries are in none."""
    made = plane.token(ADMIN, is_admin=True)
    caller = plane.bearer(made.text)
    request_id = caller.get("/grants", after="private").headers["x-request-id"]
    output = ""
    deadline = time.monotonic() + 60
    while request_id not in output:  # it is written once the answer has been sent
        assert time.monotonic() < deadline
        time.sleep(0.01)
        output += capsys.readouterr().out
    assert caller.get("/grants/none").status_code == 404
    output += capsys.readouterr().out
    (line,) = (line for line in output.splitlines() if request_id in line)
    assert "api_request" in line and ADMIN in line and "/v1/grants" in line
    assert made.text[16:] not in output and "private" not in output


def test_a_body_does_not_wait_for_an_acknowledgement(plane: Plane) -> None:
    """Connections send at once what there is to send: on Linux they take that over from the socket that accepts them."""
    with socket.create_connection((plane.server.host, plane.server.port), timeout=60):
        assert plane.server._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_database_that_is_away_is_said_so(admin: Caller, plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database cannot be reached, the answer is 503 without its address."""
    nowhere = opener("postgresql://nobody@127.0.0.1:1/none", "remit_reader")
    monkeypatch.setattr(plane.server._services.ledger, "_connect", nowhere)
    answer = admin.get("/ledger/entries")
    refused(answer, 503, "authority_unreachable")
    assert "127.0.0.1" not in answer.text


def test_a_body_that_does_not_arrive_is_given_up(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who announces a body and does not send it is answered 408 and cut off."""
    monkeypatch.setattr(Edge.__init__, "__defaults__", (0.3,))
    server = ApiServer(plane.services, "127.0.0.1:0")
    server.start()
    try:
        with socket.create_connection((server.host, server.port), timeout=60) as caller:
            token = plane.token(ADMIN, is_admin=True).text
            caller.sendall(
                b"POST /v1/grants HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nidempotency-key: slow\r\n"
                b"authorization: Bearer " + token.encode() + b"\r\n\r\n{"
            )
            answer = b""
            while part := caller.recv(65536):
                answer += part
    finally:
        server.stop()
    assert answer.startswith(b"HTTP/1.1 408") and b'"request_timeout"' in answer


def until_closed(connection: socket.socket) -> bytes:
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


WHOLE = b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(("before", "sent"), [(0, b""), (0, WHOLE[:30]), (2, WHOLE[:30])])
def test_a_head_that_does_not_arrive_is_given_up(plane: Plane, before: int, sent: bytes) -> None:
    """A connection is closed on which no head comes, or not the whole of one, also after an earlier request."""
    server = ApiServer(plane.services, "127.0.0.1:0", head_seconds=0.3)
    server.start()
    try:
        with socket.create_connection((server.host, server.port), timeout=10) as caller:
            for _ in range(before):
                caller.sendall(WHOLE)
                answer = b""
                while not answer.endswith(b'{"status":"ok"}'):
                    part = caller.recv(65536)
                    assert part, answer
                    answer += part
                # The time of one head is over before the next one begins; that cuts nobody off.
                time.sleep(0.5)
            caller.sendall(sent)
            assert until_closed(caller) == b""
    finally:
        server.stop()


def test_dripping_gains_no_time(plane: Plane) -> None:
    """A head that arrives byte by byte has no more time than any other."""
    server = ApiServer(plane.services, "127.0.0.1:0", head_seconds=0.5)
    server.start()
    closed, sent = False, 0
    try:
        with socket.create_connection((server.host, server.port), timeout=0.05) as caller:
            while not closed and sent < 200:
                try:
                    caller.sendall(b"x" if sent else b"GET /")
                    closed = caller.recv(1) == b""
                except TimeoutError:
                    sent += 1
                except ConnectionError:
                    closed = True
    finally:
        server.stop()
    assert closed


def test_a_slow_answer_is_no_slow_head(plane: Plane) -> None:
    """A request that came in time is answered, however long that takes."""
    server = ApiServer(plane.services, "127.0.0.1:0", head_seconds=0.3)
    server.start()
    caller = Caller(server.url, plane.token(ADMIN, is_admin=True).text)
    statuses: list[int] = []
    try:
        with plane.authority.repository.write(SAID):
            thread = threading.Thread(target=lambda: statuses.append(caller.create("slowly").status_code))
            thread.start()
            time.sleep(1)
        thread.join()
    finally:
        caller.http.close()
        server.stop()
    assert statuses == [201]


def listens(server: ApiServer) -> bool:
    """Whether anyone takes connections there."""
    try:
        socket.create_connection((server.host, server.port), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


def test_stopping_lets_requests_end(plane: Plane) -> None:
    """A request under way when the server is asked to stop gets its answer; later ones find nobody."""
    server = ApiServer(plane.services, "127.0.0.1:0")
    server.start()
    statuses: list[int] = []
    caller = Caller(server.url, plane.token(ADMIN, is_admin=True).text)
    caller.http.get("/health")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = 'remit-authority'"
    )
    with plane.authority.repository.write(SAID):
        thread = threading.Thread(target=lambda: statuses.append(caller.create("stopping").status_code))
        thread.start()
        while plane.sql(waiting) == [(0,)]:
            time.sleep(0.01)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        while listens(server):
            time.sleep(0.01)
        assert stopper.is_alive() and not statuses
    thread.join()
    stopper.join()
    caller.http.close()
    assert statuses == [201]
    assert not listens(server)


def test_a_gateway_does_not_load_the_api() -> None:
    """Neither what joins the parts nor a gateway process imports the API's framework."""
    code = (
        "import sys, remit.bootstrap, remit.cli.gateway_process, remit.gateway.worker;"
        "sys.exit(any(name.split('.')[0] in ('litestar', 'uvicorn') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def remit(system: System, *arguments: str) -> str:
    command = [sys.executable, "-m", "remit", *arguments, "--config", str(system.config)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_api_is_part_of_remit_up() -> None:
    """`remit person create` makes a token with which real traffic can be read from the API of `remit up`."""
    with System() as system:
        token = remit(system, "person", "create", ADMIN, "--admin", "--days", "1").strip()
        url = re.search(r"api (http://\S+)", system.log.read_text())
        assert url is not None, system.log.read_text()
        caller = Caller(url[1], token)
        tree = {"acme": root("1.00")}
        applied = caller.apply(tree)
        assert applied.status_code == 200, applied.text
        key = caller.write("POST", "/keys", {"grant": "acme", "name": "ci"}).json()["secret"]
        with system.client(key) as client:
            client.chat.completions.create(model="sim-dime", messages=[{"role": "user", "content": "hi"}], max_tokens=2)
        report = caller.get("/ledger/report", by="grant").json()
        assert report["total"]["amount_nanousd"] == system.spent("acme") > 0
        (entry,) = caller.get("/ledger/entries").json()["entries"]
        assert entry["grant_path"] == "acme"
        people = json.loads(remit(system, "person", "list", "--json"))
        # The first start made a token of its own, said in which file, and never what it is.
        (said,) = [line for line in system.log.read_text().splitlines() if "first_admin_token" in line]
        first = Path(json.loads(said)["file"])
        assert first.stat().st_mode & 0o777 == 0o600
        assert first.read_text().strip() not in system.log.read_text()
        as_admin = Caller(url[1], first.read_text().strip())
        assert as_admin.get("/people").status_code == 200
        as_admin.http.close()
        assert [one["name"] for one in people] == [ADMIN, "admin@localhost"] and token not in str(people)
        remit(system, "person", "revoke", people[0]["id"])
        refused(caller.get("/grants"), 401, "token_revoked")
        caller.http.close()
        assert system.stop() == 0


def test_tokens_are_checked_over_connections_that_are_kept(plane: Plane) -> None:
    """However many unknown tokens are presented one after the other, the database sees one connection for them."""
    server = ApiServer(plane.authority.api_services(), "127.0.0.1:0")
    server.start()
    question = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'remit-authority' AND datname = current_database()"
    )
    before = set(plane.sql(question))
    caller = Caller(server.url, plane.token(ADMIN).text[:16] + plane.token(ADMIN).text[16:])
    try:
        seen = set()
        for _ in range(5):
            refused(caller.get("/grants"), 401, "unauthenticated")
            seen |= set(plane.sql(question)) - before
    finally:
        caller.http.close()
        server.stop()
    assert len(seen) == 1
