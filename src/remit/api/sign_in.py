"""Signing in with an OpenID provider: authorization code with PKCE, state and nonce; what its token has to say.

Nothing is kept for somebody who begins: state, nonce and verifier come from a key that lives as long as this process, and a
cookie binds them to the browser that began. A state that came back once is remembered until it would have expired.
"""

import base64
import hashlib
import hmac
import http.client
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import structlog

from remit.api.fetch import fetch
from remit.api.jwks import FRESH_SECONDS, KeySet, KeysUnavailableError, Source, read_discovery, read_json
from remit.api.problems import Refusal, refuse
from remit.api.subject_tokens import Unverified, is_signed_by, read_token, time_problem
from remit.capabilities.encoding import encode_base64url
from remit.kernel.clock import Clock
from remit.kernel.names import PERSON_NAME
from remit.settings import SignInSettings

_log = structlog.get_logger(__name__)
CALLBACK_PATH: Final = "/v1/sign-in/callback"
BEGIN_SECONDS: Final = 600
MAX_USED: Final = 10_000
MAX_GROUPS: Final = 1_000
# Half of the API's threads at most wait for the provider.
ROOM: Final = 4
_MAX_CODE = 4_096


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and the cookie with which it comes back."""

    url: str = field(repr=False)
    cookie: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the provider vouches for, and the groups it says they are in."""

    email: str
    groups: frozenset[str]


class SignIn:
    """One provider. Safe to ask from several threads."""

    def __init__(
        self,
        terms: SignInSettings,
        secret: bytes | None,
        public_url: str,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self.terms = terms
        self._secret = secret
        self._redirect = f"{public_url.rstrip('/')}{CALLBACK_PATH}"
        self.is_secure = public_url.startswith("https://")
        self._clock = clock
        self._random = random
        self._key = random(32)
        self._keys = KeySet(Source("discovery", terms.issuer, self._ca_file), clock)
        self._lock = threading.Lock()
        self._used: dict[str, int] = {}
        self._room = threading.BoundedSemaphore(ROOM)
        self._known: tuple[float, dict[str, str]] | None = None

    def begin(self) -> Begun:
        """A sign-in that can be ended once, by the same browser, within ten minutes. Raises Refusal."""
        with self._in_room():
            place = self._places()["authorization_endpoint"]
        body = f"{self._now() + BEGIN_SECONDS}-{encode_base64url(self._random(24)).replace('-', '~')}"
        state = f"{body}-{self._derive('state', body)}"
        asked = {
            "response_type": "code",
            "client_id": self.terms.client_id,
            "redirect_uri": self._redirect,
            "scope": " ".join(self.terms.scopes),
            "state": state,
            "nonce": self._derive("nonce", state),
            "code_challenge": encode_base64url(hashlib.sha256(self._derive("verifier", state).encode()).digest()),
            "code_challenge_method": "S256",
        }
        return Begun(f"{place}{'&' if '?' in place else '?'}{urlencode(asked)}", self._derive("cookie", state))

    def end(self, answered: Mapping[str, str], cookie: str) -> Identity:
        """Who has signed in, by what the browser brings back. Raises Refusal."""
        state = answered.get("state", "")
        self._use(state, cookie)
        if "error" in answered:
            said = "".join(one for one in answered["error"][:80] if one.isprintable())
            raise refuse("sign_in_refused", f"the provider says `{said}`", status=403)
        code = answered.get("code", "")
        if not 0 < len(code) <= _MAX_CODE:
            raise refuse("malformed_request", "the provider sent no code", status=400, field="code")
        with self._in_room():
            return self._identity(self._redeem(code, state), self._derive("nonce", state))

    @contextmanager
    def _in_room(self) -> Iterator[None]:
        """Anybody may begin, and a provider may be slow: some of the API's threads stay free. Raises Refusal."""
        if not self._room.acquire(blocking=False):
            raise _unavailable()
        try:
            yield
        finally:
            self._room.release()

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    def _derive(self, purpose: str, text: str) -> str:
        return encode_base64url(hmac.digest(self._key, f"{purpose}\0{text}".encode(), "sha256"))

    def _use(self, state: str, cookie: str) -> None:
        """Takes a state of ours, brought by the browser that began with it, once. Raises Refusal."""
        expires, _, rest = state.partition("-")
        body = f"{expires}-{rest.partition('-')[0]}"
        right = hmac.compare_digest(f"{body}-{self._derive('state', body)}".encode(), state.encode())
        mine = hmac.compare_digest(self._derive("cookie", state).encode(), cookie.encode())
        if not right or not mine:
            raise refuse("sign_in_state_invalid", "this sign-in did not begin in this browser; begin again", status=400)
        now = self._now()
        if now >= int(expires):
            raise refuse("sign_in_state_invalid", "this sign-in took too long; begin again", status=400)
        with self._lock:
            self._used = {one: until for one, until in self._used.items() if until > now}
            if state in self._used:
                raise refuse("sign_in_state_invalid", "this sign-in was ended before; begin again", status=400)
            if len(self._used) >= MAX_USED:
                raise _unavailable()
            self._used[state] = int(expires)

    def _places(self) -> dict[str, str]:
        """Where the provider is asked, as it said within the last ten minutes. Raises Refusal."""
        known, now = self._known, self._clock.monotonic()
        if known is not None and now - known[0] < FRESH_SECONDS:
            return known[1]
        try:
            places = read_discovery(self.terms.issuer, self._ca_file, "authorization_endpoint", "token_endpoint")
            self._known = (now, places)
            return places
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.warning("sign_in_provider_failed", step="discovery", error=str(error)[:300])
            raise _unavailable() from None

    @property
    def _ca_file(self) -> str | None:
        return None if self.terms.ca_file is None else str(self.terms.ca_file)

    def _redeem(self, code: str, state: str) -> str:
        """The id token for a code. Raises Refusal."""
        place = self._places()["token_endpoint"]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": self._derive("verifier", state),
        }
        authorization = None
        if self._secret is None:
            form["client_id"] = self.terms.client_id
        else:
            pair = f"{quote(self.terms.client_id, safe='')}:{quote(self._secret.decode(), safe='')}"
            authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            answer = read_json(fetch(place, self._ca_file, form, authorization))
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.warning("sign_in_provider_failed", step="token", error=str(error)[:300])
            raise _unavailable() from None
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            _log.warning("sign_in_provider_failed", step="token", error="the answer holds no id token")
            raise _unavailable()
        return token

    def _identity(self, text: str, nonce: str) -> Identity:
        """Whom a verified id token vouches for. Raises Refusal."""
        token = read_token(text)
        if isinstance(token, str):
            raise _not_vouched(token)
        try:
            known = self._keys.find(token.kid)
        except KeysUnavailableError:
            raise _unavailable() from None
        if known is None or not is_signed_by(token, known):
            raise _not_vouched("the token is not signed by a key of the provider")
        problem = self._claims_problem(token, nonce)
        if problem is not None:
            raise _not_vouched(problem)
        return Identity(str(token.claims["email"]), _groups(token.claims.get(self.terms.groups_claim)))

    def _claims_problem(self, token: Unverified, nonce: str) -> str | None:
        claims = token.claims
        if token.issuer != self.terms.issuer:
            return "the token is of another issuer"
        if self.terms.client_id not in token.audiences:
            return "the token is for another client"
        if (len(token.audiences) > 1 or "azp" in claims) and claims.get("azp") != self.terms.client_id:
            return "the token was made for another client"
        stated = claims.get("nonce")
        if not isinstance(stated, str) or not hmac.compare_digest(stated.encode(), nonce.encode()):
            return "the token is of another sign-in"
        wrong = time_problem(claims, self._now())
        if wrong is not None:
            return wrong
        email = claims.get("email")
        # Letters that only look alike, or are alike without case, are a matter between mail systems.
        if not isinstance(email, str) or not email.isascii() or not PERSON_NAME.fullmatch(email):
            return "the token names no e-mail address"
        if claims.get("email_verified") is not True:
            return "the provider has not verified the e-mail address"
        if email.rpartition("@")[2].casefold() not in {one.casefold() for one in self.terms.email_domains}:
            return "the e-mail address is of a domain that is not listed here"
        return None


def _groups(stated: Any) -> frozenset[str]:
    """The groups that are named; a claim of another form names none."""
    if not isinstance(stated, list) or len(stated) > MAX_GROUPS:
        return frozenset()
    return frozenset(one for one in stated if isinstance(one, str))


def _not_vouched(why: str) -> Refusal:
    _log.warning("sign_in_not_vouched", why=why)
    return refuse("sign_in_refused", why, status=403)


def _unavailable() -> Refusal:
    return refuse("sign_in_unavailable", "the sign-in provider cannot be asked at the moment; try again", status=503)
