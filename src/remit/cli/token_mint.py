"""`remit token mint`."""

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Group, Parameter

from remit.cli.codes import EXIT_OK, CommandError
from remit.cli.grant_look import GrantRef, find_grant
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where
from remit.cli.values import parse_duration, parse_labels, parse_limit, parse_moment, parse_names

if TYPE_CHECKING:
    from remit.grants.minting import Narrowing, NewCapability, Possession
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered
    from remit.store.postgres_writes import WriteUnit

_HANDED_ON = Group("What the holder may hand on", sort_key=5)
_PROOF = Group("Who must prove possession", sort_key=6)
_Texts = tuple[str, ...]


@Parameter(name="*", group=_HANDED_ON)
@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOn:
    """What the holder may hand on."""

    max_depth: Annotated[int | None, Parameter(help="Blocks below it, 0 to 7; else 7.")] = None
    max_children: Annotated[int | None, Parameter(help="Living children of a block; else 64.")] = None
    max_ttl: Annotated[str | None, Parameter(help="How long a child lives; else 7d.")] = None


@Parameter(name="*", group=_PROOF)
@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Who must prove possession."""

    jkt: Annotated[str | None, Parameter(help="Thumbprint of a key (RFC 7638).")] = None
    x5t_s256: Annotated[str | None, Parameter(name="--x5t-s256", help="SHA-256 of a certificate, base64url.")] = None
    spiffe: Annotated[str | None, Parameter(help="A SPIFFE id.")] = None
    public_key: Annotated[str | None, Parameter(help="The holder's Ed25519 key, 32 bytes in base64url.")] = None


def mint_token(
    grant: GrantRef,
    /,
    *,
    purpose: Annotated[str, Parameter(help="What it is for; recorded.")] = "minted by hand",
    ttl: Annotated[str | None, Parameter(help="How long it lives, such as 10m; an hour if left out.")] = None,
    expires: Annotated[str | None, Parameter(help="Date or instant instead, its grant's expiry at the latest.")] = None,
    limit: Annotated[
        _Texts, Parameter(help="A limit of its own, such as '0.50 usd' or '1 usd per day'; repeatable.")
    ] = (),
    model: Annotated[
        _Texts | None, Parameter(help="Model it may use: exact name, or prefix with *; repeatable.")
    ] = None,
    surface: Annotated[_Texts | None, Parameter(help="Surface it may use; repeatable.")] = None,
    label: Annotated[_Texts, Parameter(help="Label of whatever it spends, as name=value; repeatable.")] = (),
    handed_on: HandedOn | None = None,
    proof: Proof | None = None,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Mint a capability of a grant and print it, once.

    Only the token goes to standard output, so TOKEN=$(remit token mint GRANT) keeps it off the screen. With a proof of
    possession the token holds no secret.
    """
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.tree import Tree

    below, proven = astuple(handed_on or HandedOn()), astuple(proof or Proof())
    narrowing, possession = _narrowing(limit, model, surface, label, below), _possession(*proven)
    life, authority = None if ttl is None else parse_duration(ttl, "--ttl"), open_authority(where)
    with authority.repository.read() as reads:
        stored = find_grant(Tree(reads.load_tree()), grant)
    terms: dict[str, Any] = {
        "purpose": purpose,
        "ttl": life,
        "expires_at": None if expires is None else parse_moment(expires, "--expires", stored.time_zone),
        "narrowing": narrowing,
        "possession": possession,
    }
    by, capabilities = by or By(), authority.capabilities_over()

    def do(unit: "WriteUnit") -> "tuple[NewCapability, dict[str, Any]] | Problem":
        made = capabilities(unit.capabilities, unit.grants).mint(stored.id, by.who(), **terms)
        return made if isinstance(made, Problem) else (made, _told(made))

    asked = {
        "grant": stored.id,
        **{name: value for name, value in terms.items() if name not in ("narrowing", "possession", "ttl")},
        "ttl_seconds": None if life is None else int(life.total_seconds()),
        "limits": limit,
        "models": model,
        "surfaces": surface,
        "labels": label,
        "delegate": below,
        "proof": proven,
    }
    return _shown_once(write_once(authority, by, "token mint", asked, do), json=json)


def _narrowing(
    limit: _Texts,
    model: _Texts | None,
    surface: _Texts | None,
    label: _Texts,
    handed_on: tuple[int | None, int | None, str | None],
) -> "Narrowing":
    from remit.capabilities.model import Delegate
    from remit.capabilities.model import Limit as BlockLimit
    from remit.grants.minting import DEFAULT_DELEGATE, Narrowing

    # A capability lives for a short time, so a limit without a period is for all of it.
    limits = [parse_limit(text if len(text.split()) != 2 else f"{text} once") for text in limit]
    depth, children, ttl = handed_on
    child_life = None if ttl is None else int(parse_duration(ttl, "--max-ttl").total_seconds())
    return Narrowing(
        limits=tuple(BlockLimit(one.dimension, one.amount, cast(Any, one.period)) for one in limits),
        models=None if model is None else parse_names(model),
        surfaces=None if surface is None else parse_names(surface),
        labels=parse_labels(label, "--label"),
        delegate=Delegate(
            DEFAULT_DELEGATE.max_depth if depth is None else depth,
            DEFAULT_DELEGATE.max_children if children is None else children,
            DEFAULT_DELEGATE.max_ttl_seconds if child_life is None else child_life,
        ),
    )


def _possession(jkt: str | None, certificate: str | None, spiffe: str | None, public_key: str | None) -> "Possession":
    from remit.capabilities.encoding import Invalid, decode_base64url
    from remit.capabilities.model import Confirmation
    from remit.grants.minting import Possession

    stated = [
        Confirmation(cast(Any, kind), value)
        for kind, value in (("jkt", jkt), ("x5t#S256", certificate), ("spiffe", spiffe))
        if value is not None
    ]
    if len(stated) > 1:
        raise CommandError("state one of --jkt, --x5t-s256 and --spiffe")
    key = None if public_key is None else decode_base64url(public_key)
    if isinstance(key, Invalid) or (key is not None and len(key) != 32):
        raise CommandError("--public-key is not base64url of 32 bytes")
    return Possession(confirmation=stated[0] if stated else None, next_public_key=key)


def _told(made: "NewCapability") -> dict[str, Any]:
    """What may be said of a new capability at any time."""
    block = made.block
    return {
        "id": block.id,
        "grant": made.grant_path,
        "purpose": block.purpose,
        "issued_by": block.issued_by,
        "expires_at": block.not_after,
        "bearer": made.is_bearer,
    }


def _shown_once(made: "NewCapability | Remembered | Problem", *, json: bool) -> int:
    from remit.cli.output import moment_text, print_json, refused, remark
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    if isinstance(made, Problem):
        return refused([made], json=json)
    replayed = isinstance(made, Remembered)
    told = dict(made.answer) if isinstance(made, Remembered) else _told(made)
    token = None if isinstance(made, Remembered) else made.token
    if json:
        print_json({**told, "token": token, "replayed": replayed})
        return EXIT_OK
    if isinstance(made, Remembered):
        remark(f"capability `{told['id']}` was minted before under this idempotency key; it was shown then")
        return EXIT_OK
    until = moment_text(made.block.not_after)
    remark(f"capability `{made.block.id}` of `{made.grant_path}`, until {until}; it is shown this once:")
    print(made.token)
    return EXIT_OK
