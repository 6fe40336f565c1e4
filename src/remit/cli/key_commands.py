"""`remit key create`, `list`, `rotate` and `revoke`."""

from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from remit.cli.codes import EXIT_OK
from remit.cli.grant_look import GrantRef, find_grant
from remit.cli.once import write_once
from remit.cli.options import By, Json, Where
from remit.cli.values import parse_limit, parse_moment, parse_names
from remit.kernel.secret_texts import public_id

if TYPE_CHECKING:
    from datetime import datetime

    from remit.grants.keys import NewKey, StoredKey
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered
    from remit.grants.tree import Tree
    from remit.store.postgres_writes import WriteUnit

_KeyId = Annotated[str, Parameter(name="key", help="Id of the key, as `remit key list` shows it.")]


def create_key(
    grant: GrantRef,
    /,
    *,
    name: Annotated[str, Parameter(help="What the key is for; people read it in lists.")],
    expires: Annotated[str | None, Parameter(help="Date or instant; the grant's own expiry binds in any case.")] = None,
    limit: Annotated[
        tuple[str, ...], Parameter(help="A limit of this key alone, such as '0.50 usd per day'; repeatable.")
    ] = (),
    model: Annotated[
        tuple[str, ...] | None, Parameter(help="Model this key may use: exact name, or prefix ending in *; repeatable.")
    ] = None,
    token: Annotated[bool, Parameter(help="Print the capability as well, on a second line.")] = False,
    json: Json = False,
    by: By | None = None,
    where: Where | None = None,
) -> int:
    """Make an access key for a grant and print its secret, once.

    Only the secret goes to standard output, so KEY=$(remit key create GRANT --name NAME) keeps it off the screen.
    """
    from remit.capabilities.model import Limit as KeyLimit
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.tree import Tree

    authority = open_authority(where)
    with authority.repository.read() as reads:
        stored = find_grant(Tree(reads.load_tree()), grant)
    limits = [parse_limit(text) for text in limit]
    terms: dict[str, Any] = {
        "expires_at": None if expires is None else parse_moment(expires, "--expires", stored.time_zone),
        "limits": tuple(KeyLimit(one.dimension, one.amount, cast(Any, one.period)) for one in limits),
        "models": None if model is None else parse_names(model),
    }
    by, keys = by or By(), authority.keys_over()

    def do(unit: "WriteUnit") -> "tuple[NewKey, dict[str, Any]] | Problem":
        made = keys(unit.keys, unit.grants).create(stored.id, name, by.who(), **terms)
        return made if isinstance(made, Problem) else (made, _told(made.key, stored.path))

    made = write_once(authority, by, "key create", {"grant": stored.id, "name": name, **terms}, do)
    return _shown_once(made, stored.path, token=token, json=json)


def list_keys(
    grant: Annotated[str | None, Parameter(help="Show the keys of this grant alone; of all if left out.")] = None,
    /,
    *,
    revoked: Annotated[bool, Parameter(name="--all", help="Show revoked keys as well.")] = False,
    json: Json = False,
    where: Where | None = None,
) -> int:
    """List access keys. Secrets are not stored and cannot be shown."""
    from remit.cli.output import moment_text, print_json, print_table, table
    from remit.cli.session import open_authority
    from remit.grants.tree import Tree

    authority = open_authority(where)
    with authority.repository.read() as reads:
        tree = Tree(reads.load_tree())
    grant_id = None if grant is None else find_grant(tree, grant).id
    now = authority.clock.now()
    stored = (one for one in authority.key_store.list(grant_id) if revoked or one["revoked_at"] is None)
    keys = [one | _standing(tree, one, now) for one in stored]
    if json:
        print_json(keys)
        return EXIT_OK
    if not keys:
        print("no access keys: `remit key create GRANT --name NAME` makes one")
        return EXIT_OK
    rows = table("key", "grant", "name", "made", "by", "expires", "status")
    for one in keys:
        status = one["effective_status"]
        if one["revoked_at"] is not None:
            status = f"revoked {moment_text(one['revoked_at'])}"
        elif one["effective_status_of"] is not None:
            status = f"{status} with {one['effective_status_of']}"
        made, expires = moment_text(one["created_at"]), moment_text(one["effective_expires_at"])
        rows.add_row(one["id"], one["path"], one["name"], made, one["created_by"], expires, status)
    print_table(rows)
    return EXIT_OK


def _standing(tree: "Tree", key: dict[str, Any], now: "datetime") -> dict[str, Any]:
    """What is in effect for a key: its own end, or that of its grant. `effective_status_of` is the grant, if it is one."""
    from remit.grants.standing import standing_of

    standing = standing_of(tree, tree[key["grant_id"]], now)
    status, of = (standing.status, None if standing.status == "active" else standing.path)
    if key["revoked_at"] is not None:
        status, of = "revoked", None
    elif now >= key["expires_at"] and status != "revoked":
        status, of = "expired", None
    return {
        "effective_status": status,
        "effective_status_of": of,
        "effective_expires_at": min(key["expires_at"], standing.expires_at),
    }


def rotate_key(key: _KeyId, /, *, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Give a key a new secret, print it once, and end the old one at once. What was spent stays spent."""
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.tree import Tree

    authority = open_authority(where)
    by, keys, key = by or By(), authority.keys_over(), public_id(key)

    def do(unit: "WriteUnit") -> "tuple[NewKey, dict[str, Any]] | Problem":
        made = keys(unit.keys, unit.grants).rotate(key, by.who())
        return made if isinstance(made, Problem) else (made, _told(made.key, path))

    stored = authority.key_store.find(key)
    with authority.repository.read() as reads:
        path = "" if stored is None else Tree(reads.load_tree())[stored.grant_id].path
    made = write_once(authority, by, "key rotate", {"key": key}, do)
    return _shown_once(made, path, token=False, json=json)


def revoke_key(key: _KeyId, /, *, json: Json = False, by: By | None = None, where: Where | None = None) -> int:
    """Make a key useless at once, for good."""
    from remit.cli.output import print_json
    from remit.cli.session import open_authority
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    authority = open_authority(where)
    by, key = by or By(), public_id(key)

    def do(unit: "WriteUnit") -> "tuple[dict[str, Any], dict[str, Any]] | Problem":
        done = authority.revocations_over(unit).revoke_key(key, by.authorship("remit key revoke"))
        if isinstance(done, Problem):
            return done
        told = {"id": done.id, "name": done.name, "revoked_at": done.revoked_at, "revoked_by": done.revoked_by}
        return told, told

    done = write_once(authority, by, "key revoke", {"key": key}, do)
    if isinstance(done, Problem):
        return _refused(done, json=json)
    told = done.answer if isinstance(done, Remembered) else done
    if json:
        print_json({**told, "replayed": isinstance(done, Remembered)})
    else:
        print(f"revoked `{told['id']}` ({told['name']})")
    return EXIT_OK


def _refused(problem: Any, *, json: bool) -> int:
    from remit.cli.output import refused

    return refused([problem], json=json)


def _told(key: "StoredKey", path: str) -> dict[str, Any]:
    """What may be said of a new key at any time."""
    return {
        "id": key.id,
        "grant": path,
        "name": key.name,
        "expires_at": key.expires_at,
        "rotated_from": key.rotated_from,
    }


def _shown_once(made: "NewKey | Remembered | Problem", path: str, *, token: bool, json: bool) -> int:
    from remit.cli.output import moment_text, print_json, remark
    from remit.grants.model import Problem
    from remit.grants.ports import Remembered

    if isinstance(made, Problem):
        return _refused(made, json=json)
    replayed = isinstance(made, Remembered)
    told = dict(made.answer) if isinstance(made, Remembered) else _told(made.key, path)
    secret, capability = (None, None) if isinstance(made, Remembered) else (made.text, made.token)
    if json:
        print_json(told | {"secret": secret, "replayed": replayed} | ({"token": capability} if token else {}))
        return EXIT_OK
    if isinstance(made, Remembered):
        remark(f"access key `{told['id']}` was made before under this idempotency key; its secret was shown then")
        return EXIT_OK
    remark(
        f"access key `{made.key.id}` ({made.key.name}) for `{path}`, until {moment_text(made.key.expires_at)}; "
        "its secret is shown this once:"
    )
    print(made.text)
    if token:
        print(made.token)
    return EXIT_OK
