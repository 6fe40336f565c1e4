"""The vendors' own clients, told where the gateway is, to present what is current, and to raise refusals as such."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from remit.sdk.authorization import Sign, gateway_url, httpx_auth
from remit.sdk.capability import Capability
from remit.sdk.refusal import combined

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI

    Client = TypeVar("Client", OpenAI, AsyncOpenAI, Anthropic, AsyncAnthropic)
else:
    Client = TypeVar("Client")

# The clients insist on a key. What is sent is the capability; a key of the vendor's in the environment is not.
PLACEHOLDER: Final = "held-by-remit"
_HOOK: Final = "_make_status_error"
_CLASSES: Final[dict[type[Any], type[Any]]] = {}
_PATHS: Final = {"openai": "/v1", "anthropic": ""}


def openai(
    capability: Capability | str | None = None, *, base_url: str | None = None, sign: Sign | None = None, **options: Any
) -> "OpenAI":
    """The official `openai.OpenAI` for the gateway at `base_url`, else $REMIT_BASE_URL.

    Every request presents the capability that is current when it is sent (or the one given here) and the current tags;
    a refusal is raised as an exception that is a `Refusal` and the client's own error. `private_key` (Ed25519, 32 bytes) proves
    possession of a capability without a secret; all other `options` are the client's.
    """
    import openai as library

    return cast("OpenAI", _made(library.OpenAI, library.DefaultHttpxClient, _Wish(capability, base_url, sign, options)))


def async_openai(
    capability: Capability | str | None = None, *, base_url: str | None = None, sign: Sign | None = None, **options: Any
) -> "AsyncOpenAI":
    """The same for `openai.AsyncOpenAI`."""
    import openai as library

    made = _made(library.AsyncOpenAI, library.DefaultAsyncHttpxClient, _Wish(capability, base_url, sign, options))
    return cast("AsyncOpenAI", made)


def anthropic(
    capability: Capability | str | None = None, *, base_url: str | None = None, sign: Sign | None = None, **options: Any
) -> "Anthropic":
    """The same for `anthropic.Anthropic`."""
    import anthropic as library

    return cast(
        "Anthropic", _made(library.Anthropic, library.DefaultHttpxClient, _Wish(capability, base_url, sign, options))
    )


def async_anthropic(
    capability: Capability | str | None = None, *, base_url: str | None = None, sign: Sign | None = None, **options: Any
) -> "AsyncAnthropic":
    """The same for `anthropic.AsyncAnthropic`."""
    import anthropic as library

    made = _made(library.AsyncAnthropic, library.DefaultAsyncHttpxClient, _Wish(capability, base_url, sign, options))
    return cast("AsyncAnthropic", made)


def configure(
    client: Client,
    capability: Capability | str | None = None,
    *,
    base_url: str | None = None,
    sign: Sign | None = None,
    **options: Any,
) -> Client:
    """A copy of an existing client with all its options, for the gateway as above. The client itself stays as it is.

    A connection pool of one's own (`http_client`, with proxies or certificates) is given here again: its `auth` is set.
    """
    library, is_async = _family(type(client))
    module = __import__(library)
    pool = module.DefaultAsyncHttpxClient if is_async else module.DefaultHttpxClient
    settings = _settings(library, pool, _Wish(capability, base_url, sign, options))
    copy = cast(Any, client).with_options(**settings)
    # The copy is of the client's own class, which may be the application's; it and its copies raise refusals from now on.
    copy.__class__ = _raising(type(copy))
    return cast("Client", copy)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a helper was asked for."""

    capability: Capability | str | None
    base_url: str | None
    sign: Sign | None
    options: dict[str, Any]


def _made(kind: type[Any], pool: type[Any], wish: _Wish) -> Any:
    return _raising(kind)(**_settings(_family(kind)[0], pool, wish))


def _settings(library: str, pool: type[Any], wish: _Wish) -> dict[str, Any]:
    gateway = gateway_url(wish.base_url)
    private_key = wish.options.pop("private_key", None)
    auth = httpx_auth(wish.capability, base_url=gateway, sign=wish.sign, private_key=private_key)
    own = wish.options.pop("http_client", None)
    if own is not None:
        own.auth = auth
    return {
        "api_key": PLACEHOLDER,
        **wish.options,
        "base_url": gateway + _PATHS[library],
        "http_client": _closing(pool)(auth=auth) if own is None else own,
    }


def _closing(pool: type[Any]) -> type[Any]:
    """The pool, closed when nobody holds it any more, as the libraries do with those they make by themselves."""
    if pool not in _CLASSES:
        _CLASSES[pool] = type(pool.__name__, (pool,), {"__del__": _close, "__module__": pool.__module__})
    return _CLASSES[pool]


def _close(pool: Any) -> None:
    # One for asyncio can only be closed in its loop, which its user does.
    if hasattr(pool, "close") and not pool.is_closed:
        pool.close()


def _family(kind: type[Any]) -> tuple[str, bool]:
    """Whose client it is, and whether it is for asyncio. Raises TypeError for any other object."""
    for base in kind.__mro__:
        library = base.__module__.partition(".")[0]
        if library in _PATHS and base.__name__ in ("OpenAI", "AsyncOpenAI", "Anthropic", "AsyncAnthropic"):
            return library, base.__name__.startswith("Async")
    raise TypeError(f"{kind.__name__} is not a client of openai or anthropic")


def _raising(kind: type[Any]) -> type[Any]:
    """The client's class with refusals as exceptions of their own; under the same name, which it tells servers."""
    if getattr(kind, "_raises_refusals", False):
        return kind
    known = _CLASSES.get(kind)
    if known is not None:
        return known
    original = getattr(kind, _HOOK)

    def make(self: Any, err_msg: str, *, body: object, response: Any) -> Exception:
        return combined(original(self, err_msg, body=body, response=response))

    own = {_HOOK: make, "_raises_refusals": True, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return _CLASSES.setdefault(kind, type(kind.__name__, (kind,), own))
