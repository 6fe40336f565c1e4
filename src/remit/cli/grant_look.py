"""`remit grant tree`, `show` and `history`."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.options import Json, Where

if TYPE_CHECKING:
    from datetime import datetime

    from rich.text import Text
    from rich.tree import Tree as RichTree

    from remit.bootstrap import Authority
    from remit.cli.burn import Burn
    from remit.grants.model import Grant
    from remit.grants.tree import Tree

GrantRef = Annotated[str, Parameter(name="grant", help="Path of the grant, such as acme/research, or its id.")]


@dataclass(frozen=True, slots=True)
class _Moment:
    """The tree at an instant and how far its limits have burned."""

    tree: "Tree"
    now: "datetime"
    burns: "dict[str, list[Burn]]"
    width: int
    unicode: bool
    narrow: bool


def tree(
    grant: Annotated[
        str | None, Parameter(help="Show this grant and what stands below it; all grants if left out.")
    ] = None,
    /,
    *,
    revoked: Annotated[bool, Parameter(name="--all", help="Show revoked grants as well.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show the tree: owner, class, status and expiry of each grant, and how far its limits have burned.

    A bar shows what is posted and what is held of a limit in its current period; `left` is what that limit alone would
    still admit. Every limit on the way to the root binds.
    """
    from remit.cli.output import console, print_json
    from remit.cli.session import open_authority

    authority = open_authority(where)
    moment = _look(authority)
    tops = moment.tree.children(None) if grant is None else [find_grant(moment.tree, grant)]
    if not revoked and grant is None:
        tops = [one for one in tops if one.status != "revoked"]
    if json:
        print_json([body for top in tops for body in _bodies(moment, top, revoked=revoked)])
        return EXIT_OK
    if not tops:
        print("no grants yet: `remit apply grants.yaml` or `remit grant create` makes the first")
    for top in tops:
        console().print(_branch(moment, top, None, revoked=revoked))
    return EXIT_OK


def show(
    grant: GrantRef,
    /,
    *,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show one grant in full: its own terms, and what it really grants once everything above it has had its say."""
    from remit.cli.grant_pages import grant_json, grant_page
    from remit.cli.output import console, print_json
    from remit.cli.session import open_authority
    from remit.grants.effective import effective

    authority = open_authority(where)
    moment = _look(authority)
    found = find_grant(moment.tree, grant)
    whole = effective(moment.tree.path_to(found))
    burns = [burn for node in whole.nodes for burn in moment.burns[node.id]]
    refusal = whole.refusal_at(authority.clock.now())
    if json:
        print_json(grant_json(whole, burns, refusal))
    else:
        out = console()
        for line in grant_page(whole, burns, refusal, unicode=moment.unicode, narrow=moment.narrow):
            out.print(line)
    return EXIT_OK


def history(
    grant: GrantRef,
    /,
    *,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Show every revision of a grant: when, who, why, and what changed."""
    from remit.cli.grant_pages import history_lines
    from remit.cli.output import console, print_json
    from remit.cli.session import open_authority
    from remit.grants.tree import Tree

    authority = open_authority(where)
    with authority.repository.read() as reads:
        found = find_grant(Tree(reads.load_tree()), grant)
        revisions = reads.revisions(found.id)
    if json:
        print_json(revisions)
    else:
        out = console()
        for line in history_lines(revisions):
            out.print(line)
    return EXIT_OK


def find_grant(tree: "Tree", ref: str) -> "Grant":
    """The grant of a path or id; raises CommandError with the nearest path."""
    from difflib import get_close_matches

    found = tree.find(ref)
    if found is None:
        near = get_close_matches(ref, [one.path for one in tree], n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise CommandError(f"there is no grant `{ref}`{hint}", code="grant_unknown", path=ref)
    return found


def _look(authority: "Authority") -> _Moment:
    from remit.cli.burn import WIDE_COLUMNS, burns_of, limits_width
    from remit.cli.output import is_narrow
    from remit.grants.tree import Tree

    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
    now = authority.clock.now()
    burns = burns_of(tree, authority.ledger.buckets(), now)
    width = limits_width(burn for own in burns.values() for burn in own)
    return _Moment(tree, now, burns, width, "utf" in (sys.stdout.encoding or "").lower(), is_narrow(WIDE_COLUMNS))


def _branch(moment: _Moment, grant: "Grant", above: "RichTree | None", *, revoked: bool) -> "RichTree":
    from rich.tree import Tree as RichTree

    from remit.cli.burn import burn_line

    label = _headline(moment, grant, grant.path if above is None else grant.path.rpartition("/")[2])
    for burn in moment.burns[grant.id]:
        label.append("\n  ")
        label.append_text(burn_line(burn, moment.width, unicode=moment.unicode, narrow=moment.narrow))
    node = RichTree(label, guide_style="dim") if above is None else above.add(label)
    for child in moment.tree.children(grant.id):
        if revoked or child.status != "revoked":
            _branch(moment, child, node, revoked=revoked)
    return node


def _headline(moment: _Moment, grant: "Grant", name: str) -> "Text":
    from rich.text import Text

    from remit.cli.output import moment_text, standing_text
    from remit.grants.standing import standing_of
    from remit.grants.words import printable

    standing = standing_of(moment.tree, grant, moment.now)
    until = moment_text(standing.expires_at, grant.time_zone)
    who = f"  {printable(grant.owner)}  {grant.grant_class}  "
    return Text.assemble((name, "bold"), who, standing_text(standing, grant.path), f"  until {until}")


def _bodies(moment: _Moment, grant: "Grant", *, revoked: bool) -> list[dict[str, Any]]:
    """The grant and what stands below it, parents first."""
    from remit.grants.standing import standing_of

    standing = standing_of(moment.tree, grant, moment.now)
    own = {
        "id": grant.id,
        "path": grant.path,
        "owner": grant.owner,
        "class": grant.grant_class,
        "status": grant.status,
        "starts_at": grant.starts_at,
        "expires_at": grant.expires_at,
        "effective_status": standing.status,
        "effective_status_of": standing.path,
        "effective_expires_at": standing.expires_at,
        "revision": grant.revision,
        "limits": [burn.body() for burn in moment.burns[grant.id]],
    }
    below = [child for child in moment.tree.children(grant.id) if revoked or child.status != "revoked"]
    return [own, *(body for child in below for body in _bodies(moment, child, revoked=revoked))]
