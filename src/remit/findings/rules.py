"""Pure rules: from facts to findings."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from remit.findings.model import Bounds, Facts, Finding, FindingCode, GrantUse, LivingKey
from remit.grants.model import Grant
from remit.grants.suggested import enough, full_periods
from remit.grants.tree import Tree
from remit.grants.words import amount_text
from remit.kernel.money import format_usd

_NO_USE = GrantUse()


def findings(facts: Facts, bounds: Bounds, now: datetime) -> list[Finding]:
    """Every finding about live grants, by path and code."""
    tree = Tree(facts.grants)
    keys: dict[str, list[LivingKey]] = defaultdict(list)
    for key in facts.keys:
        keys[key.grant_id].append(key)
    left = frozenset(name.casefold() for name in facts.left)
    found: list[Finding] = []
    for grant in tree:
        if not all(node.is_live(now) for node in tree.path_to(grant)) or grant.starts_at > now:
            continue
        use = facts.use.get(grant.id, _NO_USE)
        found.extend(_about_use(grant, tree, facts, bounds, now))
        if grant.owner.casefold() in left:
            detail = f"`{grant.owner}` left: nobody answers for `{grant.path}`"
            found.append(_finding("no_active_owner", grant, detail, {"owner": grant.owner}))
        found.extend(_experiment(grant, use))
        found.extend(_children(grant, tree, bounds, now))
        found.extend(_expiry(grant, facts, now))
        found.extend(_keys(grant, keys[grant.id], tree, bounds, now))
    return sorted(found, key=lambda one: (one.path.split("/"), one.code, one.detail))


def _finding(code: FindingCode, grant: Grant, detail: str, evidence: dict[str, Any], **more: Any) -> Finding:
    return Finding(
        code=code, grant_id=grant.id, path=grant.path, owner=grant.owner, detail=detail, evidence=evidence, **more
    )


def _about_use(grant: Grant, tree: Tree, facts: Facts, bounds: Bounds, now: datetime) -> Iterator[Finding]:
    use = facts.use.get(grant.id, _NO_USE)
    below = [grant, *tree.live_below(grant.id, now)]
    spent = [at for one in below if (at := facts.use.get(one.id, _NO_USE).last_spent_at) is not None]
    due = grant.starts_at + timedelta(days=bounds.window_days)
    if not spent and not any(one.used for one in use.periods):
        if due <= now:
            detail = f"`{grant.path}` was never used since it started {(now - grant.starts_at).days} days ago"
            yield _finding("never_used", grant, detail, {"days": (now - grant.starts_at).days}, first_seen=due)
        return
    used = {(one.dimension, one.period, one.start): one.used for one in use.periods}
    proposed = list(grant.limits)
    evidence: list[dict[str, Any]] = []
    for number, limit in enumerate(grant.limits):
        periods = full_periods(limit, grant, now, bounds.window_days)
        most = max((used.get((limit.dimension, limit.period, one.start), 0) for one in periods), default=None)
        if most is None or limit.amount == 0 or most * 100 >= limit.amount * bounds.unused_percent:
            continue
        proposed[number] = enough(limit, most, bounds.headroom_percent)
        evidence.append(
            {"dimension": limit.dimension, "period": limit.period, "limit": limit.amount, "most_used": most,
             "periods": len(periods)}
        )  # fmt: skip
    if evidence:
        first = evidence[0]
        detail = (
            f"`{grant.path}` used at most {amount_text(first['dimension'], first['most_used'])} of "
            f"{amount_text(first['dimension'], first['limit'])} in the last full {first['period']}s"
        )
        limits = [{"dimension": one.dimension, "amount": one.amount, "period": one.period} for one in proposed]
        edit = {"limits": limits} if tuple(proposed) != grant.limits else None
        yield _finding(
            "unused_budget", grant, detail, {"limits": evidence, "last_spent_at": max(spent, default=None)}, edit=edit
        )


def _experiment(grant: Grant, use: GrantUse) -> Iterator[Finding]:
    if grant.grant_class != "experimentation" or not (use.mismatches or use.has_production_entries):
        return
    detail = f"calls of the experiment `{grant.path}` are tagged as production: it may need a grant of that class"
    evidence = {"refused_days": use.mismatches, "booked": use.has_production_entries}
    yield _finding("experiment_with_production_tags", grant, detail, evidence)


def _children(grant: Grant, tree: Tree, bounds: Bounds, now: datetime) -> Iterator[Finding]:
    """Limits whose live children's own, of the same kind, come near to all of them together."""
    children = tree.live_children(grant.id, now)
    for limit in grant.limits:
        of_children = [
            one.amount
            for child in children
            for one in child.limits
            if (one.dimension, one.period) == (limit.dimension, limit.period)
        ]
        total = sum(of_children)
        if not of_children or limit.amount == 0 or total * 100 < limit.amount * bounds.children_percent:
            continue
        percent = total * 100 // limit.amount
        detail = (
            f"the children of `{grant.path}` have {amount_text(limit.dimension, total)} of its "
            f"{amount_text(limit.dimension, limit.amount)} per {limit.period} between them"
        )
        evidence = {"dimension": limit.dimension, "period": limit.period, "limit": limit.amount,
                    "children": len(of_children), "children_total": total, "percent": percent}  # fmt: skip
        yield _finding("children_near_parent", grant, detail, evidence)


def _expiry(grant: Grant, facts: Facts, now: datetime) -> Iterator[Finding]:
    asked_from = grant.expires_at - timedelta(days=grant.renewal.lead_time_days)
    if now < asked_from or grant.id in facts.renewals_asked:
        return
    days = (grant.expires_at - now).days
    detail = f"`{grant.path}` expires in {days} day{'' if days == 1 else 's'} and nobody asked to renew it"
    yield _finding(
        "expires_soon_without_renewal",
        grant,
        detail,
        {"expires_at": grant.expires_at, "days": days},
        first_seen=asked_from,
    )


def _keys(grant: Grant, keys: list[LivingKey], tree: Tree, bounds: Bounds, now: datetime) -> Iterator[Finding]:
    for key in keys:
        worth = _worth_nanousd(key, tree.path_to(grant))
        most = bounds.bearer_max_nanousd
        if most is not None and (worth is None or worth > most):
            has = "has no limit in money" if worth is None else f"is worth {format_usd(worth)}"
            detail = f"access key `{key.name}` of `{grant.path}` {has}, {format_usd(most)} are allowed"
            evidence = {"key_id": key.id, "worth_nanousd": worth, "allowed_nanousd": most}
            yield _finding("bearer_over_limit", grant, detail, evidence, first_seen=key.created_at)
        old_from = key.created_at + timedelta(days=bounds.key_days)
        if old_from <= now:
            days = (now - key.created_at).days
            detail = f"access key `{key.name}` of `{grant.path}` is {days} days old: rotate it"
            yield _finding("long_lived_key", grant, detail, {"key_id": key.id, "days": days}, first_seen=old_from)
    idle = [key for key in keys if not key.is_used and key.created_at + timedelta(days=bounds.window_days) <= now]
    if len(idle) >= bounds.unused_keys:
        detail = f"{len(idle)} access keys of `{grant.path}` were never used: revoke them"
        numbers: dict[str, Any] = {"unused": len(idle), "key_ids": [key.id for key in idle]}
        yield _finding("many_unused_keys", grant, detail, numbers)


def _worth_nanousd(key: LivingKey, path: tuple[Grant, ...]) -> int | None:
    """The least money limit of the key and of the grants on its path, overdrafts included; None where there is none."""
    of_path = [
        limit.amount + (node.overdraft.max_nanousd if node.overdraft and path[-1].grant_class == "production" else 0)
        for node in path
        for limit in node.limits
        if limit.dimension == "usd"
    ]
    return min([*of_path, *(limit.amount for limit in key.limits if limit.dimension == "usd")], default=None)
