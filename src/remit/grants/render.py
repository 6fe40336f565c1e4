"""A plan as readable text: `+` is created, `~` is changed, `-` is revoked, `!` forbids it all."""

from dataclasses import fields
from datetime import datetime
from typing import Any

from remit.grants.edits import NewGrant
from remit.grants.model import Limit, Overdraft
from remit.grants.plan import Difference, Plan
from remit.grants.words import instant_text, limit_text
from remit.kernel.money import format_usd

_NAMES = {"grant_class": "class", "starts_at": "starts", "expires_at": "expires"}


def render_plan(plan: Plan) -> str:
    """The steps in the order they are carried out, then what is left alone, then what forbids the plan."""
    lines: list[str] = []
    for grant in plan.revokes:
        lines += [f"- {grant.path}", f"    revoked with everything below it; its owner is {grant.owner}"]
    for change in plan.changes:
        lines.append(f"~ {change.path}")
        lines += [line for difference in change.differences for line in _difference_lines(difference)]
    for new in plan.creates:
        lines += [f"+ {new.path}", *_new_lines(new)]
    if not plan.prune:
        lines += [f"? {one.path}\n    stands in the tree, not in the file; left alone" for one in plan.orphans]
    if lines:
        lines.append("")
    counts = (
        f"{len(plan.creates)} to create, {len(plan.changes)} to change, {len(plan.revokes)} to revoke, "
        f"{len(plan.unchanged)} unchanged"
    )
    lines.append(counts)
    if plan.problems:
        lines += ["", f"cannot be applied, {len(plan.problems)} to settle:"]
        lines += [f"! {problem.code}: {problem.detail}" for problem in plan.problems]
    return "\n".join(lines) + "\n"


def _new_lines(new: NewGrant) -> list[str]:
    stated = []
    blank = NewGrant(path="", owner="")
    for one in fields(new):
        value = getattr(new, one.name)
        if one.name not in ("path", "status") and value != getattr(blank, one.name):
            stated.append(f"    {_NAMES.get(one.name, one.name)}: {value_text(value)}")
    return stated


def _difference_lines(difference: Difference) -> list[str]:
    name = _NAMES.get(difference.field, difference.field)
    if difference.field != "limits":
        return [f"    {name}: {change_text(difference.old, difference.new)}"]
    old = {(limit.dimension, limit.period): limit for limit in difference.old}
    new = {(limit.dimension, limit.period): limit for limit in difference.new}
    lines = [
        f"    limit: {value_text(old.get(key))} -> {value_text(new.get(key))}"
        for key in [*old, *(key for key in new if key not in old)]
        if old.get(key) != new.get(key)
    ]
    return lines or ["    limits: another order"]


def change_text(old: Any, new: Any) -> str:
    """`old -> new` in the words of the file, told apart also where nothing stated and nothing allowed read alike."""
    texts = [value_text(old), value_text(new)]
    if texts[0] == texts[1]:
        texts = [
            "not stated" if value is None else "an empty list" if value == () else str(value) for value in (old, new)
        ]
    return " -> ".join(texts)


def value_text(value: Any) -> str:
    """A value of the model in the words of the file."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Limit):
        return limit_text(value)
    if isinstance(value, Overdraft):
        return format_usd(value.max_nanousd)
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, tuple):
        return ", ".join(value_text(item) for item in value) or "none"
    if hasattr(value, "__dataclass_fields__"):
        parts = ((one.name, getattr(value, one.name)) for one in fields(value))
        return ", ".join(_part_text(name, item) for name, item in parts if item is not None) or "none"
    return str(value)


def _part_text(name: str, value: Any) -> str:
    """One part of a value; what has parts itself stands in brackets, money is in dollars."""
    if name.endswith("_nanousd"):
        return f"{name.removesuffix('_nanousd')}_usd {format_usd(value)}"
    text = value_text(value)
    return f"{name} ({text})" if hasattr(value, "__dataclass_fields__") else f"{name} {text}"
