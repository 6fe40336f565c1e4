"""Notifications for people who look them up, in the reader's role."""

from collections.abc import Sequence
from typing import Any

from remit.store.connect import connect
from remit.store.named import query
from remit.store.rows import dicts


class PostgresNotifications:
    """Reads notifications; delivering them is `PostgresCare`'s."""

    def __init__(self, url: str) -> None:
        self._url = url

    def page(self, after: int, count: int, nodes: Sequence[str] | None) -> list[dict[str, Any]]:
        """Those after an id, oldest first; with `nodes` (grant ids), only those about them."""
        parameters = {"after": after, "count": count, "nodes": None if nodes is None else list(nodes)}
        with connect(self._url, "remit_reader") as connection:
            return dicts(connection.execute(query("notifications_page"), parameters))
