"""From a notification to what people read. Pure: the same row is always the same message."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from remit.grants.words import amount_text
from remit.notify.ports import Message, TicketFacts
from remit.renewals.model import ASKING

_PERIODS = {"day": "a day", "week": "a week", "month": "a month", "quarter": "a quarter", "once": "once"}
_ASKS = {
    "grant": "asks for a new grant",
    "renew": "asks to renew",
    "increase": "asks for more",
    "transfer": "asks to move money",
    "break_glass": "asks to break glass",
    "debt": "asks what becomes of a debt",
    "books": "asks for a change of the books",
    "finding": "asks what becomes of a finding",
}
_TITLES = {
    "threshold": "{percent} % of a limit is used on {path}",
    "cap_reached": "{path} has reached a limit",
    "forecast_exhaustion": "{path} will not last its period",
    "overdraft": "{path} uses its overdraft",
    "overage": "a call of {path} cost more than its ceiling",
    "suspense": "a call of {path} is booked at its ceiling",
    "class_mismatch": "a call with the wrong class came to {path}",
    "renewal_due": "{path} ends soon unless it is renewed",
    "grace": "{path} is in its grace time",
    "lapsed": "{path} has lapsed",
    "runaway": "{path} runs away",
    "debt": "{path} owes money",
    "ownerless": "{path} has no active owner",
    "break_glass": "glass was broken on {path}",
    "finding": "something was found about {path}",
}
_MAX_TEXT_CHARACTERS = 2_000
_SHOWN = ("posted", "limit", "amount_nanousd", "owner", "runs_out_at", "resets_at", "expires_at", "detail")
Row = Mapping[str, Any]


def to_message(row: Row) -> Message:
    """The message of a claimed notification (`PostgresDeliveries.claim`)."""
    body = row["body"]
    ticket = _ticket(row.get("ticket"))
    path = (ticket.path if ticket else None) or row.get("path") or str(body.get("path", ""))
    title, text = _ticket_words(row, ticket) if ticket else _page_words(row, path)
    return Message(
        id=row["id"],
        kind=row["kind"],
        audience=row["audience"],
        recipients=_recipients(row),
        title=_line(title),
        text=text[:_MAX_TEXT_CHARACTERS],
        facts=_facts(row, ticket, path),
        ticket=ticket,
        created_at=row["created_at"],
        path=path,
        body=body,
        thread=row.get("thread"),
        so_far=row.get("so_far"),
    )


def when(instant: datetime, now: datetime) -> str:
    """`Friday` within the week, else the date."""
    days = (instant.date() - now.date()).days
    if days in (0, 1):
        return ("today", "tomorrow")[days]
    return instant.strftime("%A") if 1 < days < 7 else instant.date().isoformat()


def _recipients(row: Row) -> tuple[str, ...]:
    if row["recipients"]:
        return tuple(row["recipients"])
    owner = row["body"].get("owner")
    return (str(owner),) if row["audience"] == "owner" and owner else ()


def _ticket(stored: Row | None) -> TicketFacts | None:
    if stored is None:
        return None
    return TicketFacts(
        id=stored["id"],
        state=stored["state"],
        kind=stored["kind"],
        path=stored["path"],
        requester=stored["requester"],
        assignees=tuple(stored["assignees"]),
        due_at=datetime.fromisoformat(stored["due_at"]),
        asks=tuple((stored.get("evidence") or {}).get("asks", ())),
        decided_by=stored["decided_by"],
        decision_reason=stored["decision_reason"],
    )


def _ticket_words(row: Row, ticket: TicketFacts) -> tuple[str, str]:
    asks = f"{ticket.requester} {_asked(row, ticket)}"
    reason = str((row.get("ticket") or {}).get("reason", ""))
    if row["kind"] == "ticket_commented":
        by, said = row["body"].get("by", "somebody"), row["body"].get("text", "")
        return f"{by} commented on {ticket.path}", f"{by}: {said}"
    if not ticket.is_open:
        by = f" by {ticket.decided_by}" if ticket.decided_by else ""
        because = f": {ticket.decision_reason}" if ticket.decision_reason else ""
        return f"{ticket.path}: {ticket.state}", f"{ticket.state}{by}{because} ({asks})"
    due = f"due {when(ticket.due_at, row['created_at'])}; approve or decline"
    why = f" ({reason})" if reason else ""
    title = f"{ticket.requester} {_ASKS[ticket.kind]}: {ticket.path}"
    late = "nobody has decided yet: " if row["kind"] == "ticket_escalated" else ""
    return title, f"{late}{asks}{why}; {due}"


def _asked(row: Row, ticket: TicketFacts) -> str:
    """The change in numbers where the ticket has them: `limit` with dimension, period, before (or None) and after."""
    evidence = (row.get("ticket") or {}).get("evidence") or {}
    change = row["body"].get("limit_change") or evidence.get("limit_change")
    if not change:
        return f"{_ASKS[ticket.kind]} on `{ticket.path}`"
    per = _PERIODS.get(change["period"], f"per {change['period']}")
    after = _short(change["dimension"], change["after"])
    instead = "" if change.get("before") is None else f" instead of {_short(change['dimension'], change['before'])}"
    return f"asks for {after} {per}{instead} on `{ticket.path}`"


def _page_words(row: Row, path: str) -> tuple[str, str]:
    body, dimension = row["body"], row["dimension"]
    title = _TITLES.get(row["kind"], str(row["kind"])).format(percent=row["threshold"], path=path or "the organisation")
    parts = [title]
    if dimension and "posted" in body and "limit" in body:
        parts.append(f"{_short(dimension, body['posted'])} of {_short(dimension, body['limit'])}")
    if "amount_nanousd" in body:
        parts.append(_short("usd", body["amount_nanousd"]))
    parts += [str(body[name]) for name in ("detail", "text") if body.get(name)]
    return title, ": ".join([parts[0], ", ".join(parts[1:])]) if len(parts) > 1 else title


def _facts(row: Row, ticket: TicketFacts | None, path: str) -> tuple[tuple[str, str], ...]:
    facts = [("grant", path)] if path else []
    if ticket:
        facts += [
            ("ticket", ticket.id),
            ("asked by", ticket.requester),
            ("decided by" if ticket.decided_by else "to decide", ticket.decided_by or ", ".join(ticket.assignees)),
            ("due", ticket.due_at.isoformat(timespec="minutes")),
        ]
        worst_case = ((row.get("ticket") or {}).get("evidence") or {}).get("exposure", {}).get("text")
        # Only to who is asked: who asked may not see the grants whose limits it comes from.
        facts += [("worst case", worst_case)] if worst_case and row["kind"] in ASKING else []
    for name in _SHOWN:
        value = row["body"].get(name)
        if value is None:
            continue
        if name == "amount_nanousd":
            facts.append(("amount", _short("usd", value)))
        elif name in ("posted", "limit") and row["dimension"] and isinstance(value, int):
            facts.append((name, _short(row["dimension"], value)))
        elif isinstance(value, str | int):
            facts.append((name.replace("_", " "), _line(str(value))))
    return tuple(facts)


def _short(dimension: Any, amount: int) -> str:
    """`$41,000` rather than `$41,000.00`."""
    return amount_text(dimension, amount).removesuffix(".00")


def _line(text: str) -> str:
    """One line without control characters: a title goes into headers and subjects."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:250]
