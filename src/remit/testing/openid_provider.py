"""An OpenID provider on loopback: discovery, keys that rotate, authorization with PKCE, codes that are good once."""

import base64
import hashlib
import json
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import RSAKey

from remit.kernel.clock import Clock


class OpenIdProvider:
    """Signs `person` in without a question; what it says of them can be changed before each token is made.

    `person` are the claims about whoever signs in. `alter` gets the claims and the header of the next id token and may
    change both; `algorithm` None makes tokens without a signature. `before_answer` runs before the token endpoint answers,
    and `token_status` is what it answers with.
    """

    def __init__(self, clock: Clock, client_id: str = "remit", client_secret: str | None = "a-client-s-secret") -> None:  # noqa: S107 - a fake's own
        self.client_id, self.client_secret = client_id, client_secret
        self.person: dict[str, Any] = {"sub": "1", "email": "ana@acme.example", "email_verified": True, "groups": []}
        self.alter: Callable[[dict[str, Any], dict[str, Any]], None] = lambda *_: None
        self.before_answer: Callable[[], None] = lambda: None
        self.token_status = 200
        self._clock = clock
        self._codes: dict[str, dict[str, str]] = {}
        self.key = self.rotate()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def rotate(self) -> RSAKey:
        """A new key in place of the one that signs; the old one is published no more."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4)})
        return self.key

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser goes next, with a code."""
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.url})}"

    def redeem(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """The token endpoint's answer: a code is good once, for its client, address and verifier."""
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        pair = f"{self.client_id}:{self.client_secret}".encode()
        known = self.client_secret is None or authorization == f"Basic {base64.b64encode(pair).decode()}"
        if (
            asked is None
            or not known
            or form.get("redirect_uri") != asked["redirect_uri"]
            or base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        now = int(self._clock.now().timestamp())
        claims = {"iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        return 200, {"access_token": "unused", "token_type": "Bearer", "id_token": self.id_token(claims | self.person)}

    def id_token(self, claims: dict[str, Any]) -> str:
        """A token as this provider signs it now."""
        header = {"alg": "RS256", "kid": self.key.kid}
        self.alter(claims, header)
        if header["alg"] == "none":
            parts = [json.dumps(header).encode(), json.dumps(claims).encode(), b""]
            return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return jws.serialize_compact(dict(header), json.dumps(claims).encode(), self.key)


def _handler(provider: OpenIdProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/.well-known/openid-configuration":
                places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
                named = {name: f"{provider.url}/{place}" for name, place in places.items()}
                self._send(200, {"issuer": provider.url, **named})
            elif url.path == "/jwks":
                self._send(200, {"keys": [{**provider.key.as_dict(private=False), "use": "sig"}]})
            elif url.path == "/authorize":
                self.send_response(302)
                self.send_header("location", provider.authorize(dict(parse_qsl(url.query))))
                self.send_header("content-length", "0")
                self.end_headers()
            else:
                self._send(404, {})

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            form = {name: values[0] for name, values in parse_qs(raw.decode()).items()}
            status, body = provider.redeem(form, self.headers.get("authorization", ""))
            provider.before_answer()
            self._send(status if provider.token_status == 200 else provider.token_status, body)

        def _send(self, status: int, body: dict[str, Any]) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            return

    return Handler


@contextmanager
def running_provider(clock: Clock, **more: Any) -> Iterator[OpenIdProvider]:
    """A provider that answers until the end of the block."""
    provider = OpenIdProvider(clock, **more)
    thread = threading.Thread(target=provider.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        provider.server.server_close()
        thread.join()
