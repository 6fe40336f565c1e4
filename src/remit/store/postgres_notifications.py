"""Notifications for people who look them up, in the reader's role."""

from collections.abc import Sequence
from typing import Any

from remit.store.connect import connect
from remit.store.named import query


class PostgresNotifications:
    """Reads notifications; delivering them is `PostgresCare`'s."""

    def __init__(self, url: str) -> None:
        self._url = url

    def page(self, after: int, count: int, nodes: Sequence[str] | None) -> list[dict[str, Any]]:
        """Those after an id, oldest first; with `nodes` (grant ids), only those about them."""
        parameters = {"after": after, "count": count, "nodes": None if nodes is None else list(nodes)}
        with connect(self._url, "remit_reader") as connection:
            cursor = connection.execute(query("notifications_page"), parameters)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
