"""The running Remit the cases share; a case that stops, dates or starves one starts its own."""

from tests.system.conftest import name, system

__all__ = ["name", "system"]
