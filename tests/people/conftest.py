"""One control plane per module, as for the other tests of the API."""

from tests.api.conftest import admin, name, plane

__all__ = ["admin", "name", "plane"]
