"""A real issuer of workload tokens on loopback: discovery, a JWK set that can rotate, and tokens it signs."""

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

KEYS: dict[str, Any] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rsa"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "ec"}),
    "EdDSA": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}
KEYS["PS256"] = KEYS["RS256"]


class Issuer:
    """`keys` are what its JWK set holds; `fetched` counts how often that was read, each time after `before_answer`."""

    def __init__(self) -> None:
        self.keys: list[Any] = [KEYS["RS256"], KEYS["ES256"], KEYS["EdDSA"]]
        self.fetched = 0
        self.is_down = False
        self.before_answer: Callable[[], None] = lambda: None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if issuer.is_down:
                    self.send_error(500)
                    return
                if self.path == "/.well-known/openid-configuration":
                    body: Any = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/jwks"}
                else:
                    issuer.fetched += 1
                    issuer.before_answer()
                    body = {"keys": [{**key.as_dict(private=False), "use": "sig"} for key in issuer.keys]}
                raw = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def running_issuer() -> Iterator[Issuer]:
    """An issuer that answers until the end of the block."""
    issuer = Issuer()
    thread = threading.Thread(target=issuer.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield issuer
    finally:
        issuer.server.shutdown()
        issuer.server.server_close()
        thread.join()


def sign(claims: Any, algorithm: str = "RS256", key: Any = None, **header: Any) -> str:
    """A compact token; `claims` may be the payload's bytes."""
    key = key or KEYS[algorithm]
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    head = {"alg": algorithm, **({"kid": key.kid} if key.kid else {}), **header}
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jws.serialize_compact(head, payload, key, registry=registry)
