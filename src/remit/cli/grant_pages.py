"""What `grant show` and `grant history` print."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from rich.text import Text

from remit.cli.burn import Burn, burn_line, limits_width
from remit.cli.output import instant_text, moment_text, status_text
from remit.grants.effective import EffectiveGrant
from remit.grants.model import Grant, Revision
from remit.grants.render import change_text, value_text
from remit.grants.serialise import from_body, to_body
from remit.grants.words import printable
from remit.kernel.decisions import Refused
from remit.kernel.money import format_usd

_OWN_FIELDS = ("time_zone", "delegation", "on_exhausted", "overdraft", "renewal")
_LABEL_WIDTH = 19


def grant_page(
    whole: EffectiveGrant, burns: Sequence[Burn], refusal: Refused | None, *, unicode: bool, narrow: bool
) -> Iterator[Text]:
    """The lines of a grant's page."""
    leaf = whole.leaf
    yield Text(leaf.path, style="bold")
    status = status_text(leaf.status)
    if refusal is not None:
        status = Text.assemble(status, (f"; nothing can be spent: {refusal.detail}", "red"))
    yield _labelled("status", status)
    yield _labelled("id", f"{leaf.id}, revision {leaf.revision}, epoch {leaf.epoch}")
    yield _labelled("owner", printable(leaf.owner))
    yield _labelled("class", leaf.grant_class)
    yield _labelled("starts", moment_text(whole.starts_at, leaf.time_zone))
    ends = leaf if leaf.expires_at == whole.expires_at else min(whole.nodes, key=lambda node: node.expires_at)
    of = "" if ends is leaf else f" (of `{ends.path}`)"
    yield _labelled("expires", moment_text(whole.expires_at, ends.time_zone) + of)
    for name in _OWN_FIELDS:
        yield _labelled(name.replace("_", " "), value_text(getattr(leaf, name)))
    yield Text("")
    yield Text("what requests may be, all grants from the root taken together", style="bold")
    yield _labelled("scope", value_text(whole.scope))
    for one in fields(whole.shape):
        value = getattr(whole.shape, one.name)
        yield _labelled(one.name.replace("_", " "), "any" if value is None else value_text(value))
    yield _labelled("data classes", "any" if whole.data_classes is None else value_text(whole.data_classes))
    yield _labelled("required tags", value_text(whole.required_tags))
    for rate in whole.rates:
        yield _labelled("rate", f"{value_text(rate.rate)} (of `{rate.path}`)")
    yield Text("")
    yield Text("limits in their current periods, every one of which binds", style="bold")
    width = limits_width(burns)
    for node in whole.nodes:
        own = [burn for burn in burns if burn.path == node.path]
        yield Text(f"  {node.path}" + ("" if own else "  no limit of its own"))
        for burn in own:
            yield Text("    ").append_text(burn_line(burn, width, unicode=unicode, narrow=narrow))
    tightest = tightest_usd(burns)
    if tightest is not None:
        yield Text("")
        left = format_usd(tightest.remaining)
        yield Text(f"{left} can be spent now; `{tightest.path}` is what binds")


def grant_json(whole: EffectiveGrant, burns: Sequence[Burn], refusal: Refused | None) -> dict[str, Any]:
    """The same as JSON-able data: the stored grant as it is, and what is in effect."""
    tightest = tightest_usd(burns)
    return {
        "grant": to_body(whole.leaf),
        "effective": {
            "path": [node.path for node in whole.nodes],
            "scope": whole.scope.labels(),
            "shape": whole.shape,
            "data_classes": whole.data_classes,
            "required_tags": whole.required_tags,
            "starts_at": whole.starts_at,
            "expires_at": whole.expires_at,
            "rates": whole.rates,
            "refusal": None if refusal is None else {"code": refusal.code.name, "detail": refusal.detail},
        },
        "limits": [burn.body() for burn in burns],
        "spendable_nanousd": None if tightest is None else tightest.remaining,
        "binding_node": None if tightest is None else tightest.path,
    }


def tightest_usd(burns: Sequence[Burn]) -> Burn | None:
    """The money limit with the least left; the highest of those, as refusals name it."""
    money = [burn for burn in burns if burn.limit.dimension == "usd"]
    return min(money, key=lambda burn: burn.remaining, default=None)


def history_lines(revisions: Sequence[Revision]) -> Iterator[Text]:
    """Oldest first: a headline for each revision, then the fields it changed."""
    before: Grant | None = None
    for revision in revisions:
        grant = from_body(revision.body)
        yield Text.assemble(
            (f"revision {revision.revision}", "bold"),
            f"  {instant_text(revision.changed_at)}  {printable(revision.changed_by)}  ",
            (printable(revision.reason), "italic"),
        )
        for line in [] if before is None else changed_lines(before, grant):
            yield Text(f"    {printable(line)}")
        before = grant


def changed_lines(before: Grant, after: Grant) -> list[str]:
    """`field: old -> new` for each field that differs."""
    return [
        f"{one.name.removeprefix('grant_')}: {change_text(getattr(before, one.name), getattr(after, one.name))}"
        for one in fields(Grant)
        if one.name != "revision" and getattr(before, one.name) != getattr(after, one.name)
    ]


def _labelled(label: str, value: str | Text) -> Text:
    return Text.assemble((f"  {label:<{_LABEL_WIDTH}}", "dim"), value)
