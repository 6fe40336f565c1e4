"""Signing in with a real provider on loopback, and everything that may be wrong about what it answers."""

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from threading import Event, Semaphore
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from remit.api.jwks import RETRY_SECONDS
from remit.api.sign_in import BEGIN_SECONDS, ROOM, SignIn
from remit.kernel.clock import SystemClock
from remit.settings import SettingsError, SignInSettings, load_settings
from remit.testing.clock import ManualClock
from remit.testing.openid_provider import OpenIdProvider, running_provider
from tests.api.support import Plane, refused

ROLES = [
    {"group": "auditors", "role": "auditor"},
    {"group": "leads", "role": "approver", "grant": "org"},
    {"group": "nowhere", "role": "org_owner", "grant": "never/was"},
]


class Door:
    """A provider, a control plane that trusts it, and browsers that sign in."""

    def __init__(self, provider: OpenIdProvider, plane: Plane) -> None:
        self.provider, self.plane = provider, plane
        self.root = plane.server.url.removesuffix("/v1")

    def begin(self, browser: httpx.Client) -> str:
        """The provider's answer to a browser that was sent there, as a path and query of ours."""
        begun = browser.get(f"{self.root}/v1/sign-in")
        assert begun.status_code == 302, begun.text
        answered = urlsplit(httpx.get(begun.headers["location"]).headers["location"])
        return f"{answered.path}?{answered.query}"

    def sign_in(self, **headers: str) -> httpx.Response:
        with httpx.Client(timeout=30) as browser:
            return browser.get(f"{self.root}{self.begin(browser)}", headers=headers)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    secret = tmp_path_factory.mktemp("secret") / "client"
    secret.touch(mode=0o600)
    secret.write_text("a-client-s-secret\n")
    with running_provider(SystemClock()) as provider:
        terms = {"issuer": provider.url, "client_id": "remit", "client_secret_file": secret, "roles": ROLES}
        more = {"sign_in": {**terms, "email_domains": ["acme.example"]}}
        with Plane(api={"listen": "127.0.0.1:0", "public_url": "http://127.0.0.1:1"}, **more) as plane:
            plane.admin.made("org", 100)
            yield Door(provider, plane)


@pytest.fixture
def door(running: Door) -> Door:
    """The provider as it is when nothing is wrong."""
    provider = running.provider
    provider.person = {"sub": "1", "email": "ana@acme.example", "email_verified": True, "groups": []}
    provider.alter, provider.before_answer, provider.token_status = (lambda claims, header: None), (lambda: None), 200
    return running


def test_signing_in_gives_a_token_for_a_working_day(door: Door) -> None:
    """The token works, is of the person whom the provider vouches for, and lives for twelve hours."""
    answer = door.sign_in()
    assert answer.status_code == 200, answer.text
    caller = door.plane.bearer(answer.json()["token"])
    assert answer.json()["name"] == "ana@acme.example" and caller.get("/grants").json()["grants"] == []
    (token,) = [one for one in caller.get("/tokens").json()["tokens"] if one["id"] in answer.json()["token"]]
    assert token["expires_at"][:13] != token["created_at"][:13] and token["purpose"] == "sign-in"
    assert answer.headers["cache-control"] == "no-store"


def test_a_browser_gets_a_page_that_loads_nothing(door: Door) -> None:
    """Whoever asks for a page gets one with the token, which runs no script and tells nobody where it was."""
    answer = door.sign_in(accept="text/html,*/*")
    assert answer.headers["content-type"].startswith("text/html") and "rp_" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_groups_are_roles_as_of_the_last_time(door: Door) -> None:
    """Roles that came from groups are replaced at each sign-in; those that were given by hand stay."""
    plane = door.plane
    give = {"person": "Ana@acme.example", "role": "finance", "reason": "test"}
    assert plane.admin.write("POST", "/roles", give).status_code == 201
    door.provider.person["groups"] = ["auditors", "leads", "nowhere", "unknown"]
    caller = plane.bearer(door.sign_in().json()["token"])

    def roles() -> set[tuple[str, str | None, str]]:
        return {(one["role"], one["grant_path"], one["source"]) for one in caller.get("/roles").json()["roles"]}

    by_hand = ("finance", None, "command")
    assert roles() == {by_hand, ("auditor", None, "oidc"), ("approver", "org", "oidc")}
    assert caller.get("/people").status_code == 200
    door.provider.person["groups"] = ["leads"]
    assert door.sign_in().status_code == 200
    assert roles() == {by_hand, ("approver", "org", "oidc")}
    refused(caller.get("/people"), 403, "not_permitted")
    door.provider.person["groups"] = "auditors"
    assert door.sign_in().status_code == 200
    assert roles() == {by_hand}


WRONG: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "nonce": lambda claims, header: claims.update(nonce="other"),
    "no_nonce": lambda claims, header: claims.pop("nonce"),
    "expired": lambda claims, header: claims.update(exp=claims["exp"] - 3600, iat=claims["iat"] - 3600),
    "audience": lambda claims, header: claims.update(aud="other"),
    "second_audience": lambda claims, header: claims.update(aud=["remit", "other"]),
    "other_party": lambda claims, header: claims.update(azp="other"),
    "issuer": lambda claims, header: claims.update(iss="https://evil.example"),
    "unverified": lambda claims, header: claims.update(email_verified=False),
    "verified_as_text": lambda claims, header: claims.update(email_verified="true"),
    "unsaid": lambda claims, header: claims.pop("email_verified"),
    "no_mail": lambda claims, header: claims.pop("email"),
    "kelvin_sign": lambda claims, header: claims.update(email="\u212aim@acme.example"),
    "domain": lambda claims, header: claims.update(email="ana@evil.example"),
    "subdomain": lambda claims, header: claims.update(email="ana@x.acme.example"),
    "no_algorithm": lambda claims, header: header.update(alg="none"),
    "unknown_key": lambda claims, header: header.update(kid="other"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_token_that_says_something_wrong_signs_nobody_in(door: Door, wrong: str) -> None:
    """Each claim and each part of the header is looked at, and no token of ours is made."""
    before = door.plane.sql("SELECT count(*) FROM people_tokens")
    door.provider.alter = WRONG[wrong]
    refused(door.sign_in(), 403, "sign_in_refused")
    assert door.plane.sql("SELECT count(*) FROM people_tokens") == before


def test_a_token_of_another_key_signs_nobody_in(door: Door) -> None:
    """A signature by whoever knows the key's id only is none."""
    published = door.provider.key
    forged = door.provider.rotate()
    door.provider.key = published
    forged = type(forged).import_key({**forged.as_dict(private=True), "kid": published.kid})
    make = door.provider.id_token

    def by_another(claims: dict[str, Any]) -> str:
        door.provider.key = forged
        try:
            return make(claims)
        finally:
            door.provider.key = published

    door.provider.id_token = by_another  # type: ignore[method-assign]
    try:
        refused(door.sign_in(), 403, "sign_in_refused")
    finally:
        del door.provider.id_token


def test_an_answer_is_taken_once_and_from_who_began(door: Door) -> None:
    """A state that is replayed, changed, of another browser or of nobody is refused, and its code is not redeemed."""
    with httpx.Client(timeout=30) as browser, httpx.Client(timeout=30) as other, httpx.Client() as nobody:
        answered = door.begin(browser)
        query = {name: values[0] for name, values in parse_qs(urlsplit(answered).query).items()}
        door.begin(other)

        def end(who: httpx.Client, **changed: str) -> httpx.Response:
            return who.get(f"{door.root}/v1/sign-in/callback?{urlencode({**query, **changed})}")

        refused(end(other), 400, "sign_in_state_invalid")
        refused(end(nobody), 400, "sign_in_state_invalid")
        for state in ("", "x", query["state"][:-1], "9" + query["state"], query["state"] + "x", "é"):
            refused(end(browser, state=state), 400, "sign_in_state_invalid")
        refused(end(browser, iss="https://evil.example"), 403, "sign_in_refused")
        cookie = dict(browser.cookies)
        assert end(browser).status_code == 200
        browser.cookies.update(cookie)
        refused(end(browser), 400, "sign_in_state_invalid")


def test_a_replayed_code_signs_nobody_in(door: Door) -> None:
    """A code that was redeemed does not work in another sign-in, not even in the same browser."""
    with httpx.Client(timeout=30) as browser:
        first = door.begin(browser)
        code = parse_qs(urlsplit(first).query)["code"][0]
        assert browser.get(f"{door.root}{first}").status_code == 200
        state = parse_qs(urlsplit(door.begin(browser)).query)["state"][0]
        again = browser.get(f"{door.root}/v1/sign-in/callback?{urlencode({'code': code, 'state': state})}")
        refused(again, 503, "sign_in_unavailable")


def test_what_the_provider_refuses_is_said(door: Door) -> None:
    """An error instead of a code ends the sign-in with its name."""
    with httpx.Client(timeout=30) as browser:
        state = parse_qs(urlsplit(door.begin(browser)).query)["state"][0]
        answer = browser.get(f"{door.root}/v1/sign-in/callback?{urlencode({'error': 'access_denied', 'state': state})}")
        assert "access_denied" in refused(answer, 403, "sign_in_refused")["detail"]


def test_a_provider_that_fails_or_is_slow_costs_seconds(door: Door) -> None:
    """An answer with status 500, none within five seconds, and a redirect are told as a provider that cannot be asked."""
    door.provider.token_status = 500
    refused(door.sign_in(), 503, "sign_in_unavailable")
    door.provider.token_status = 302
    refused(door.sign_in(), 503, "sign_in_unavailable")
    door.provider.token_status = 200
    door.provider.before_answer = lambda: time.sleep(7)
    began = time.monotonic()
    refused(door.sign_in(), 503, "sign_in_unavailable")
    assert time.monotonic() - began < 6.9


def test_a_slow_provider_does_not_hold_up_the_api(door: Door) -> None:
    """While as many as are let wait for the provider, the next one is told to try again and everything else is answered."""
    waiting, answers = Semaphore(0), Event()

    def wait() -> None:
        waiting.release()
        answers.wait(30)

    with ExitStack() as stack:
        browsers = [stack.enter_context(httpx.Client(timeout=30)) for _ in range(ROOM + 1)]
        ends = [f"{door.root}{door.begin(browser)}" for browser in browsers]
        door.provider.before_answer = wait
        pool = stack.enter_context(ThreadPoolExecutor(ROOM))
        stack.callback(answers.set)
        ended = [pool.submit(one.get, end) for one, end in zip(browsers[:ROOM], ends, strict=False)]
        assert all(waiting.acquire(timeout=30) for _ in range(ROOM))
        refused(browsers[ROOM].get(ends[ROOM]), 503, "sign_in_unavailable")
        assert door.plane.admin.get("/grants").status_code == 200
        assert not any(one.done() for one in ended)
        answers.set()
        assert [one.result().status_code for one in ended] == [200] * ROOM


def test_who_left_cannot_sign_in(door: Door) -> None:
    """The provider may vouch for a person who left: they get no token before they are let back."""
    door.provider.person["email"] = "gone@acme.example"
    assert door.sign_in().status_code == 200
    assert door.plane.admin.write("POST", "/people/gone@acme.example/leave", {"reason": "test"}).status_code == 200
    refused(door.sign_in(), 403, "person_left")
    assert door.plane.admin.write("POST", "/people/gone@acme.example/return", {"reason": "test"}).status_code == 200
    assert door.sign_in().status_code == 200


def test_without_a_provider_there_is_no_route() -> None:
    """Where nothing is set, signing in is like any route that does not exist."""
    with Plane() as plane:
        refused(plane.nobody.get("/sign-in"), 404, "unknown_route")
        refused(plane.nobody.get("/sign-in/callback"), 404, "unknown_route")


def signing_in(sign_in: SignIn) -> str:
    """The address of somebody who signs in, on their way past the routes."""
    begun = sign_in.begin()
    query = parse_qs(urlsplit(httpx.get(begun.url).headers["location"]).query)
    return sign_in.end({name: values[0] for name, values in query.items()}, begun.cookie).email


def test_keys_rotate_and_states_end() -> None:
    """A new key of the provider is read when it is first met, a minute apart at most; a sign-in takes ten minutes at most."""
    clock = ManualClock()
    with running_provider(clock, client_secret=None) as provider:
        terms = SignInSettings(issuer=provider.url, client_id="remit", email_domains=("ACME.example",))
        sign_in = SignIn(terms, None, "http://127.0.0.1:1", clock, secrets.token_bytes)
        assert signing_in(sign_in) == "ana@acme.example"
        provider.rotate()
        clock.advance(timedelta(seconds=RETRY_SECONDS + 1))
        assert signing_in(sign_in) == "ana@acme.example"
        begun = sign_in.begin()
        state = parse_qs(urlsplit(begun.url).query)["state"][0]
        clock.advance(timedelta(seconds=BEGIN_SECONDS))
        with pytest.raises(Exception, match="sign_in_state_invalid"):
            sign_in.end({"state": state, "code": "x"}, begun.cookie)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"issuer": "http://idp.example"}, "issuer"),
        ({"email_domains": []}, "email_domains"),
        ({"email_domains": ["ana@acme.example"]}, "email_domains"),
        ({"scopes": ["email"]}, "scopes"),
        ({"roles": [{"group": "x", "role": "god"}]}, "role"),
        ({"role": []}, "did you mean"),
    ],
)
def test_settings_that_let_in_more_than_was_meant_are_refused(change: dict[str, Any], message: str) -> None:
    """An issuer in the open, no domain, an unknown role and a misspelt key are told at start."""
    table = {"issuer": "https://idp.example", "client_id": "remit", "email_domains": ["acme.example"], **change}
    with pytest.raises(SettingsError, match=message):
        load_settings(overrides={"sign_in": table, "api": {"public_url": "https://remit.example"}}, environment={})


def test_signing_in_needs_an_address_of_ours() -> None:
    """Without a public address there is nowhere to come back to."""
    table = {"issuer": "https://idp.example", "client_id": "remit", "email_domains": ["acme.example"]}
    with pytest.raises(SettingsError, match="public_url"):
        load_settings(overrides={"sign_in": table}, environment={})
