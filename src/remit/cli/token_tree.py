"""`remit token tree`: the living chains of blocks under a grant, with what each spent and may still spend."""

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from remit.cli.codes import EXIT_OK
from remit.cli.grant_look import GrantRef, find_grant
from remit.cli.options import Json, Where
from remit.cli.words import counted

if TYPE_CHECKING:
    from datetime import datetime

    from rich.tree import Tree as RichTree

    from remit.bootstrap import Authority
    from remit.grants.model import Grant
    from remit.grants.standing import Standing
    from remit.grants.tree import Tree
    from remit.leases.model import NodeLimit
    from remit.store.postgres_chains import KnownBlock
    from remit.store.postgres_ledger import BucketNumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """One block now. `left_nanousd` is what it may still spend, everything above it considered; None is no limit."""

    block: "KnownBlock"
    path: str
    left_nanousd: int | None
    revoked: bool
    children: "tuple[_Standing, ...]"


def show_tree(grant: GrantRef, /, *, json: Json = False, where: Where | None = None) -> int:
    """Show the living capabilities under a grant, block by block: what each spent and may still spend.

    A block that its holder made is known once a call was made with it.
    """
    from remit.cli.output import console, print_json
    from remit.cli.session import open_authority
    from remit.grants.standing import standing_of
    from remit.grants.tree import Tree

    authority = open_authority(where)
    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
    chosen = find_grant(tree, grant)
    grants = _below(tree, chosen)
    now = authority.clock.now()
    standings = _standings(authority, tree, grants, now)
    if json:
        print_json([_body(one) for of_grant in standings.values() for one in of_grant])
        return EXIT_OK
    if not any(standings.values()):
        print(f"no living capability under `{chosen.path}` is known: `remit token mint {chosen.path}` makes one")
        return EXIT_OK
    out = console()
    for node in grants:
        if standings[node.id]:
            out.print(_grant_tree(node, standing_of(tree, node, now), standings[node.id]))
    return EXIT_OK


def _below(tree: "Tree", grant: "Grant") -> "list[Grant]":
    return [grant, *(one for child in tree.children(grant.id) for one in _below(tree, child))]


def _standings(
    authority: "Authority", tree: "Tree", grants: "list[Grant]", now: "datetime"
) -> "dict[str, list[_Standing]]":
    from remit.cli.burn import burns_of
    from remit.grants.effective import effective

    blocks = authority.chains.of_grants([one.id for one in grants], now)
    paths = {one.id: tree.path_to(one) for one in grants}
    everybody = {node.id: node for path in paths.values() for node in path}
    numbers = authority.ledger.buckets([*everybody, *(one.id for one in blocks)])
    burns = burns_of(everybody.values(), numbers, now)
    money = {key: [one.remaining for one in own if one.limit.dimension == "usd"] for key, own in burns.items()}
    children: dict[str | None, list[KnownBlock]] = defaultdict(list)
    known = {one.id for one in blocks}
    for one in blocks:
        children[one.parent_id if one.parent_id in known else one.grant_id].append(one)
    buckets = {(one.node_id, one.dimension, one.period_kind, one.period_start): one for one in numbers}

    def standing(block: "KnownBlock", grant: "Grant", above: int | None, revoked: bool) -> _Standing:
        lefts = [_left(block.id, one, grant, buckets, now) for one in block.limits if one.dimension == "usd"]
        left = min([*lefts, *([] if above is None else [above])], default=None)
        revoked = revoked or block.revoked
        below = tuple(standing(child, grant, left, revoked) for child in children[block.id])
        path = f"{grant.path}#{block.id[:12]}"
        return _Standing(block=block, path=path, left_nanousd=0 if revoked else left, revoked=revoked, children=below)

    def left_of(grant: "Grant") -> int | None:
        if effective(paths[grant.id]).refusal_at(now) is not None:
            return 0
        return min((one for node in paths[grant.id] for one in money[node.id]), default=None)

    return {
        grant.id: [standing(block, grant, left_of(grant), False) for block in children[grant.id]] for grant in grants
    }


def _left(
    block_id: str,
    limit: "NodeLimit",
    grant: "Grant",
    buckets: "dict[tuple[str, str, str, datetime], BucketNumbers]",
    now: "datetime",
) -> int:
    """What a limit of a block would still admit in its current period."""
    from remit.kernel.periods import period_of

    start = period_of(limit.period, now, ZoneInfo(grant.time_zone)).start
    bucket = buckets.get((block_id, limit.dimension, limit.period, start))
    return limit.amount if bucket is None else max(limit.amount - bucket.posted - bucket.held, 0)


def _grant_tree(grant: "Grant", how: "Standing", standings: "list[_Standing]") -> "RichTree":
    from rich.text import Text
    from rich.tree import Tree as RichTree

    from remit.cli.output import standing_text

    status = () if how.status == "active" else ("  ", standing_text(how, grant.path))
    root = RichTree(Text.assemble((grant.path, "bold"), *status), guide_style="dim")
    for one in standings:
        _branch(root, one, grant)
    return root


def _branch(above: "RichTree", one: _Standing, grant: "Grant") -> None:
    from rich.text import Text

    from remit.cli.output import moment_text
    from remit.grants.words import amount_text, printable

    block = one.block
    limits = ", ".join(
        amount_text(limit.dimension, limit.amount) + ("" if limit.period == "once" else f" per {limit.period}")
        for limit in block.limits
    )
    words = [
        limits or "no limit of its own",
        f"{amount_text('usd', block.spent_nanousd)} spent in {counted(block.requests, 'call')}",
    ]
    if block.held_nanousd:
        words.append(f"{amount_text('usd', block.held_nanousd)} held")
    if one.revoked:
        words.append("revoked" if block.revoked else "revoked with a block above")
    else:
        words.append("no limit" if one.left_nanousd is None else f"{amount_text('usd', one.left_nanousd)} left")
    who = f"  {printable(block.purpose or '')} ({printable(block.issued_by)})" if block.issued_by else ""
    until = f"  until {moment_text(block.not_after, grant.time_zone)}"
    node = above.add(Text.assemble((f"#{block.id[:12]}", "bold"), f"{who}  {', '.join(words)}{until}"))
    for child in one.children:
        _branch(node, child, grant)


def _body(one: _Standing) -> dict[str, Any]:
    block = one.block
    return {
        "id": block.id,
        "path": one.path,
        "grant_id": block.grant_id,
        "issued_by": block.issued_by,
        "purpose": block.purpose,
        "not_after": block.not_after,
        "max_children": block.max_children,
        "limits": [
            {"dimension": limit.dimension, "amount": limit.amount, "period": limit.period} for limit in block.limits
        ],
        "first_held_at": block.first_held_at,
        "requests": block.requests,
        "spent_nanousd": block.spent_nanousd,
        "held_nanousd": block.held_nanousd,
        "left_nanousd": one.left_nanousd,
        "revoked": one.revoked,
        "children": [_body(child) for child in one.children],
    }
