"""`remit ticket request`, `renew`, `increase`, `transfer` and `break-glass`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from remit.cli.codes import CommandError
from remit.cli.grant_look import GrantRef
from remit.cli.grant_terms import Terms, with_limits
from remit.cli.options import By, Json, Where

if TYPE_CHECKING:
    from datetime import datetime

    from remit.bootstrap import Authority
    from remit.renewals.requests import LimitChanges

_Limits = Annotated[
    tuple[str, ...], Parameter(help="The limit wanted, such as '500 usd per month'; the others stay; repeatable.")
]


def request(
    path: Annotated[str, Parameter(help="Path of the grant wanted; its parent is one level up.")],
    /,
    *,
    owner: Annotated[str, Parameter(help="E-mail address of the person who will answer for the spend.")],
    terms: Terms | None = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Ask for a new grant below one that is not yours, or outside the boundary of yours."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket
    from remit.grants.edits import NewGrant
    from remit.renewals.requests import new_grant

    terms = terms or Terms()
    authority = open_authority(where)
    stated = terms.fields(NewGrant(path=path, owner=owner), terms.time_zone or "UTC")
    new = NewGrant(path=path, owner=owner, limits=with_limits((), terms.limit, ()), **stated)
    act = opening(lambda _tree: new_grant(new, "command"))
    return write_ticket(authority, by, "ticket request", {"new": new.body()}, act, json=json)


def renew(
    grant: GrantRef,
    /,
    *,
    expires: Annotated[str | None, Parameter(help="The new expiry: date or instant.")] = None,
    term: Annotated[str | None, Parameter(name="--for", help="Or how much longer, such as 90d.")] = None,
    limit: _Limits = (),
    suggested: Annotated[
        bool, Parameter(help="Ask for the smaller limits that the grant's use suggests, if there are any.")
    ] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Ask for a later expiry of a grant, with smaller or larger limits where they are named or suggested by its use."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket
    from remit.cli.values import parse_duration, parse_moment
    from remit.renewals.requests import renewal

    if (expires is None) == (term is None):
        raise CommandError("say either --expires or --for")
    if suggested and limit:
        raise CommandError("say either --suggested or --limit")
    authority = open_authority(where)
    old_expiry, zone = _expiry_and_zone(authority, grant)
    if term is not None:
        expires_at = old_expiry + parse_duration(term, "--for")
    else:
        assert expires is not None
        expires_at = parse_moment(expires, "--expires", zone)
    changes = _changes(limit)
    more = {"suggested": True} if suggested else {}
    asked = {"grant": grant, "expires": expires, "for": term, "limits": list(limit), **more}
    act = opening(lambda tree: renewal(tree, grant, expires_at, changes, "command", suggested))
    return write_ticket(authority, by, "ticket renew", asked, act, json=json)


def increase(
    grant: GrantRef,
    /,
    *,
    limit: _Limits,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Ask for other limits of a grant."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket
    from remit.renewals import requests

    authority, changes = open_authority(where), _changes(limit)
    act = opening(lambda tree: requests.increase(tree, grant, changes, "command"))
    return write_ticket(authority, by, "ticket increase", {"grant": grant, "limits": list(limit)}, act, json=json)


def transfer(
    source: Annotated[str, Parameter(help="Path or id of the grant that gives.")],
    target: Annotated[str, Parameter(help="Path or id of its sibling that gets.")],
    /,
    *,
    limit: Annotated[str, Parameter(help="How much of which limit, such as '50 usd per month'.")],
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Ask the owner of a sibling for a part of its limit."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket
    from remit.cli.values import parse_limit
    from remit.renewals import requests

    wanted = parse_limit(limit)
    authority = open_authority(where)
    act = opening(
        lambda tree: requests.transfer(tree, source, target, wanted.dimension, wanted.period, wanted.amount, "command")
    )
    asked = {"source": source, "target": target, "limit": limit}
    return write_ticket(authority, by, "ticket transfer", asked, act, json=json)


def break_glass(
    grant: GrantRef,
    /,
    *,
    usd: Annotated[str, Parameter(help="How many dollars more in each period of its limits.")],
    term: Annotated[str, Parameter(name="--for", help="For how long from now, such as 4h.")],
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Ask for more in an emergency: two people approve, it ends by itself, and it is reviewed afterwards."""
    from remit.cli.session import open_authority
    from remit.cli.ticket_page import opening, write_ticket
    from remit.cli.values import parse_duration
    from remit.kernel.money import InvalidAmountError, parse_usd
    from remit.renewals import requests

    try:
        amount = parse_usd(usd)
    except InvalidAmountError as error:
        raise CommandError(f"--usd: {error}") from None
    authority, life = open_authority(where), parse_duration(term, "--for")
    act = opening(lambda tree: requests.break_glass(tree, grant, amount, authority.clock.now() + life, "command"))
    return write_ticket(authority, by, "ticket break-glass", {"grant": grant, "usd": usd, "for": term}, act, json=json)


def _changes(limits: tuple[str, ...]) -> "LimitChanges":
    from remit.cli.values import parse_limit

    parsed = [parse_limit(text) for text in limits]
    return {(one.dimension, one.period): one.amount for one in parsed}


def _expiry_and_zone(authority: "Authority", ref: str) -> "tuple[datetime, str]":
    from remit.cli.grant_look import find_grant
    from remit.grants.tree import Tree

    with authority.repository.read() as reads:
        grant = find_grant(Tree(reads.load_tree()), ref)
    return grant.expires_at, grant.time_zone
