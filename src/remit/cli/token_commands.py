"""`remit token attenuate`, `inspect` and `verify`. The first two need no settings, no database and no network."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from remit.cli.codes import EXIT_DIFFERENCES, EXIT_OK, CommandError
from remit.cli.options import Json, Where
from remit.cli.words import counted

if TYPE_CHECKING:
    from datetime import datetime

    from remit.capabilities.model import IssuerKey, Limit
    from remit.sdk import Capability, View

_MAX_CHARS = 8192
# Taken only in order to be refused: what a library says of an argument too many repeats the argument.
_Nothing = Annotated[str, Parameter(show=False, allow_leading_hyphen=False)]
_UNITS = (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1))


def attenuate_token(
    *arguments: _Nothing,
    limit: Annotated[
        tuple[str, ...],
        Parameter(help="A limit of the new block, such as '0.50 usd' or '1000 tokens per day'; repeatable."),
    ] = (),
    model: Annotated[
        tuple[str, ...] | None, Parameter(help="Model it may use: exact name, or prefix ending in *; repeatable.")
    ] = None,
    surface: Annotated[tuple[str, ...] | None, Parameter(help="Surface it may use; repeatable.")] = None,
    ttl: Annotated[
        str, Parameter(help="How long it lives, such as 90s, 10m, 2h or 7d; cut to what its parent allows.")
    ] = "10m",
    label: Annotated[tuple[str, ...], Parameter(help="A label to add, as name=value; repeatable.")] = (),
    max_depth: Annotated[int | None, Parameter(help="How many further blocks may follow; 0 for none.")] = None,
    max_children: Annotated[int | None, Parameter(help="How many living children it may have.")] = None,
    max_ttl: Annotated[str | None, Parameter(help="How long a child of it may live, such as 10m.")] = None,
    public_key: Annotated[
        str | None, Parameter(help="Ed25519 public key (base64url) of whom it is for: the text then carries no secret.")
    ] = None,
) -> int:
    """Make a narrower capability from one on standard input, offline, and print it.

    Only the new capability goes to standard output. Whatever is asked for, it can do no more than its parent.
    """
    from remit.cli.values import parse_labels, parse_names
    from remit.sdk import CapabilityError, attenuate
    from remit.sdk.terms import seconds_of

    parent = _capability(arguments)
    try:
        made = attenuate(
            parent,
            limits=limit,
            models=None if model is None else parse_names(model),
            surfaces=None if surface is None else parse_names(surface),
            ttl=ttl,
            labels=parse_labels(label, "--label"),
            max_depth=max_depth,
            max_children=max_children,
            max_ttl=max_ttl,
            public_key=public_key,
        )
        left = int((made.expires_at - _now()).total_seconds())
        if left + 1 < seconds_of(ttl):
            from remit.cli.output import remark

            remark(f"--ttl is cut to what the parent allows: it expires in {_duration(max(0, left))}")
    except CapabilityError as error:
        raise CommandError(error.reason, code=error.code) from None
    print(made.token)
    return EXIT_OK


def inspect_token(*arguments: _Nothing, json: Json = False) -> int:
    """Show what a capability on standard input says. Signatures are not checked: anybody can write such a text."""
    from remit.sdk import CapabilityError

    try:
        view = _capability(arguments).inspect()
    except CapabilityError as error:
        raise CommandError(error.reason, EXIT_DIFFERENCES, code=error.code) from None
    if json:
        from remit.cli.output import print_json

        print_json(_document(view, signatures_checked=False))
        return EXIT_OK
    print("signatures were not checked: this is what the text says")
    _print_view(view)
    return EXIT_OK


def verify_token(
    *arguments: _Nothing,
    issuer_key: Annotated[
        tuple[str, ...], Parameter(help="Public key of an issuer (base64url) whose signature counts; repeatable.")
    ] = (),
    keys_from_database: Annotated[
        bool, Parameter(help="Take the issuers' keys, and the audience, from the database.")
    ] = False,
    audience: Annotated[str | None, Parameter(help="The gateways it has to be meant for; else as set.")] = None,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """Check signatures, audience and time of a capability on standard input; say what it authorises, or exit 1.

    Says nothing of revoked blocks, nor of the grant and what is left of it: only a gateway knows those.
    """
    from remit.capabilities.model import CapabilityProblem, Verified, issuer_key_ring
    from remit.capabilities.rules import verify
    from remit.cli.output import print_json
    from remit.cli.session import settings_of
    from remit.sdk.capability import view_of

    text = _capability(arguments).token
    if bool(issuer_key) == keys_from_database:
        raise CommandError("say whose signature counts: --issuer-key or --keys-from-database, one of the two")
    keys = _keys_of_database(where) if keys_from_database else [_issuer(one) for one in dict.fromkeys(issuer_key)]
    meant = audience or settings_of(where).gateway.audience
    found = verify(text, issuer_key_ring(keys), meant, _now())
    proof = found.unproven if isinstance(found, CapabilityProblem) and found.code == "proof_required" else None
    authority = found if isinstance(found, Verified) else proof
    if authority is None:
        assert isinstance(found, CapabilityProblem)
        raise CommandError(f"{found.code}: {found.reason}", EXIT_DIFFERENCES, code=found.code)
    if any(key.revoked and key.kid == authority.kid for key in keys):
        raise CommandError("revoked: its issuer's key was revoked", EXIT_DIFFERENCES, code="revoked")
    # Without a proof nothing is authorised, but what would be is known to be genuine.
    view = view_of(authority, bearer=proof is None)
    if json:
        print_json(_document(view, signatures_checked=True))
        return EXIT_OK
    print(f"verified: signatures, audience `{meant}` and time" + (", but for a proof of possession" if proof else ""))
    _print_view(view)
    return EXIT_OK


def _capability(arguments: tuple[str, ...]) -> "Capability":
    from remit.sdk import CapabilityError
    from remit.sdk.capability import as_capability, from_environment

    if arguments:
        raise CommandError(
            "a capability is a secret and no argument: it is read from standard input or $REMIT_CAPABILITY"
        )
    try:
        text = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read(_MAX_CHARS).strip()
        found = as_capability(text) if text else from_environment()
    except CapabilityError as error:
        raise CommandError(error.reason, code=error.code) from None
    if found is None:
        raise CommandError("there is no capability on standard input, and none in $REMIT_CAPABILITY")
    return found


def _issuer(text: str) -> "IssuerKey":
    from remit.capabilities.encoding import decode_base64url
    from remit.capabilities.issuer_keys import kid_of
    from remit.capabilities.model import IssuerKey

    raw = decode_base64url(text.rstrip("="))
    if not isinstance(raw, bytes) or len(raw) != 32:
        raise CommandError(f"--issuer-key `{text}` is not an Ed25519 public key of 32 bytes in base64url")
    return IssuerKey(kid_of(raw), raw)


def _keys_of_database(where: Where | None) -> "list[IssuerKey]":
    """The keys as a gateway knows them: what it would verify with."""
    import asyncio

    from remit.cli.session import open_url, settings_of
    from remit.store.postgres_tree import PostgresTree

    tree = PostgresTree(open_url(settings_of(where)), "remit_authority")

    async def read() -> "list[IssuerKey]":
        try:
            return list((await tree.read()).issuers)
        finally:
            await tree.close()

    return asyncio.run(read())


def _now() -> "datetime":
    from remit.kernel.clock import SystemClock

    return SystemClock().now()


def _document(view: "View", *, signatures_checked: bool) -> dict[str, Any]:
    from remit.cli.output import jsonable

    document: dict[str, Any] = jsonable(view)
    for place, limits in (
        (document, view.limits),
        *zip(document["blocks"], (one.limits for one in view.blocks), strict=True),
    ):
        place["limits"] = [
            {"dimension": one.dimension, "amount": one.amount, "unit": one.unit, "period": one.period} for one in limits
        ]
    return {"signatures_checked": signatures_checked, **document}


def _print_view(view: "View") -> None:
    left = view.expires_at - _now()
    when = f"expires in {_duration(_whole(left))}" if left > timedelta() else f"expired {_duration(_whole(-left))} ago"
    rows = {
        "grant": view.grant,
        "expires": f"{when}, at {view.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "limits": ", ".join(map(_limit, view.limits)) or "none of its own",
        "models": _names(view.models),
        "surfaces": _names(view.surfaces),
        "labels": ", ".join(f"{name}={value}" for name, value in view.labels.items()) or "none",
        "audience": view.audience,
        "hand on": _handing_on(view),
        "presented by": "whoever has the text"
        if view.bearer
        else "whoever proves possession of " + " and ".join(f"{one.kind} {one.value}" for one in view.confirmations),
    }
    for name, value in rows.items():
        print(f"{name:<13} {value}")
    for number, block in enumerate(view.blocks):
        limits = ", ".join(map(_limit, block.limits)) or "no limit of its own"
        print(f"{f'block {number}':<13} {block.id}  {limits}, until {block.expires_at:%Y-%m-%dT%H:%M:%SZ}")


def _handing_on(view: "View") -> str:
    rules = view.delegate
    if not rules.max_depth or not rules.max_children or not rules.max_ttl_seconds:
        return "no"
    levels = counted(rules.max_depth, "level")
    return f"{levels}, {rules.max_children:,} living children each, {_duration(rules.max_ttl_seconds)} at most"


def _names(names: tuple[str, ...] | None) -> str:
    return "as the grant allows" if names is None else ", ".join(names) or "none: the blocks have none in common"


def _limit(limit: "Limit") -> str:
    from remit.kernel.money import format_usd

    amount = format_usd(limit.amount) if limit.dimension == "usd" else f"{limit.amount:,} {limit.dimension}"
    return f"{amount} {'once' if limit.period == 'once' else f'per {limit.period}'}"


def _whole(duration: timedelta) -> int:
    return duration // timedelta(seconds=1)


def _duration(seconds: int) -> str:
    """In words, by the largest unit of which there are at least two: `9 minutes`, `36 hours`."""
    for unit, size in _UNITS:
        if seconds >= 2 * size or size == 1:
            return counted(seconds // size, unit)
    raise AssertionError("seconds are the last unit")
