"""Rows by the names of their columns."""

from typing import Any

import psycopg


def dicts(cursor: psycopg.Cursor[Any]) -> list[dict[str, Any]]:
    """All rows that are left, each by column name."""
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
