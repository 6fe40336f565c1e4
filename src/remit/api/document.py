"""The OpenAPI document, made as true as the routes: what the framework's own generator says less exactly than they read."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar.openapi.plugins import JsonRenderPlugin

from remit.api.answers import Given
from remit.api.bodies import Body
from remit.api.problems import ProblemAnswer, ProblemItem

_REF: Final = "#/components/schemas/{name}"
_BOUNDS: Final = ("minimum", "maximum")
_LARGEST: Final = 2**63 - 1
_STATE: Final = "remit_document"


class DocumentPlugin(JsonRenderPlugin):
    """The framework's page, of the same document."""

    def render(self, request: Any, openapi_schema: dict[str, Any]) -> bytes:
        return super().render(request, document(request.app))


def document(app: Litestar) -> dict[str, Any]:
    """The document of this application; made when it is first asked for."""
    if _STATE not in app.state:
        app.state[_STATE] = _made(app)
    made: dict[str, Any] = app.state[_STATE]
    return made


def _made(app: Litestar) -> dict[str, Any]:
    made = app.openapi_schema.to_schema()
    # The framework takes `tuple[X, ...]` for a pair, writes bounds as floats, and leaves out that unknown fields are
    # refused. What reads the bodies and writes the answers describes them exactly.
    schemas = made["components"]["schemas"]
    types = {one.__name__: one for one in _structs()}
    _, exact = msgspec.json.schema_components([types[name] for name in schemas], ref_template=_REF)
    schemas.update(exact)
    _with_whole_bounds(made["paths"])
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            operations = made["paths"].get(route.path_format, {})
            if handler.opt.get("exclude_from_auth"):
                # An empty list says that no token is needed; the framework leaves it out, which says the opposite.
                for method in handler.http_methods:
                    operations.get(method.lower(), {})["security"] = []
    return made


def _structs() -> Iterator[type[msgspec.Struct]]:
    """Every type of a body or an answer."""
    found: list[type[msgspec.Struct]] = [Body, Given, ProblemAnswer, ProblemItem]
    for one in found:
        found += one.__subclasses__()
        yield one


def _with_whole_bounds(part: Any) -> None:
    """Bounds of integers are integers, also where a float cannot hold them."""
    if isinstance(part, dict):
        for name in _BOUNDS:
            if isinstance(part.get(name), float):
                part[name] = min(int(part[name]), _LARGEST)
        for one in part.values():
            _with_whole_bounds(one)
    elif isinstance(part, list):
        for one in part:
            _with_whole_bounds(one)
