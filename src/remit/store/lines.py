"""Lines of a hold as JSON for SQL."""

from typing import Any

import msgspec

from remit.leases.model import HoldLine


def lines_json(lines: list[HoldLine]) -> str:
    """Lines as the SQL type `wanted_line` names their fields."""
    return msgspec.json.encode([line_json(line) for line in lines]).decode()


def line_json(line: HoldLine) -> dict[str, Any]:
    """One line as the SQL type `wanted_line` names its fields."""
    return {
        "node": line.node_id,
        "dimension": line.dimension,
        "kind": line.kind,
        "starts": line.starts,
        "ends": line.ends,
        "limit": line.limit,
        "overdraft_limit": line.overdraft_limit,
        "amount": line.amount,
        "pace_limit": line.pace_limit,
        "page_percents": line.page_percents,
    }
