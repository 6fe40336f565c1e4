"""Revoking: which thing a word names, who may end it, and the one write that does."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from remit.capabilities.model import CapabilityProblem, IssuerKey, Limit
from remit.capabilities.reading import inspect
from remit.capabilities.rules import verify
from remit.grants.keys import KeyService, KeyStore, StoredKey
from remit.grants.minting import permitted_grant
from remit.grants.model import Grant, Problem
from remit.grants.ports import GrantRepository
from remit.grants.service import Answer, Authorship, GrantService, NotWritten, Written
from remit.grants.tree import Tree
from remit.kernel.clock import Clock
from remit.kernel.ids import new_id

SubjectKind = Literal["block", "key", "grant", "issuer"]
KINDS: tuple[SubjectKind, ...] = ("block", "key", "grant", "issuer")
_BLOCK = re.compile(r"[0-9a-f]{64}")
# As refusals and `token tree` show a block: twelve digits of its id or more, behind its grant's path.
_SHOWN = re.compile(r"(?:block:|([^#]+)#)([0-9a-f]{12,64})")
_KEY = re.compile(r"[0-9a-hjkmnp-tv-z]{12}")
_SECRET = re.compile(r"(?:key:)?rk_([0-9a-hjkmnp-tv-z]{12})_.*", re.DOTALL)
_ISSUER = re.compile(r"[0-9a-f]{24}")
_SHAPES = {"block": _BLOCK, "key": _KEY, "issuer": _ISSUER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is to be revoked. `name` is for people; `blocks` are those whose calls end with it, the first its own.

    `grant` is None for an issuer key. `keep_until` is when a block is over by itself, at the latest. `limits` are those of a
    presented capability's blocks, by their ids; none for a block that is named by its id. `is_over` says of a block or a key
    that it was revoked before.
    """

    kind: SubjectKind
    id: str
    name: str
    grant: Grant | None = None
    blocks: tuple[str, ...] = ()
    keep_until: datetime | None = None
    limits: Mapping[str, Sequence[Limit]] = field(default_factory=dict)
    is_over: bool = False

    @property
    def ended(self) -> tuple[list[str], list[str]]:
        """The grants and the blocks whose calls end with it: not the blocks above a block."""
        if self.kind == "grant":
            return [self.id], []
        return [], list(self.blocks if self.kind == "issuer" else self.blocks[:1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A revocation as stored. From `tree_revision` on nothing of its subject is admitted."""

    id: str
    kind: SubjectKind
    subject: str
    grant_id: str | None
    cut_streams: bool
    issued_before: datetime | None
    keep_until: datetime | None
    tree_revision: int
    revoked_at: datetime
    revoked_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class KnownBlock:
    """A block that is known here: whose it is, when its chain is over at the latest, the blocks from itself to the first."""

    grant_id: str
    not_after: datetime
    chain: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownIssuer:
    """An issuer key as stored."""

    kid: str
    public_key: bytes
    status: str
    min_issued_at: datetime | None


def without_secret(word: str) -> str:
    """The word as it may be kept and shown: of a whole access key its id."""
    whole = _SECRET.fullmatch(word)
    return word if whole is None else f"key:{whole[1]}"


class RevocationStore(Protocol):
    """Where revocations are kept."""

    def insert(self, revocation: Revocation) -> Revocation:
        """Stores it, with the revision of the tree that this makes. The last thing written to the tree in its write."""
        ...

    def block(self, block_id: str) -> KnownBlock | None: ...

    def blocks_beginning(self, digits: str) -> tuple[str, ...]:
        """At most two of the known blocks whose ids begin with these hex digits."""
        ...

    def block_of_key(self, key_id: str) -> KnownBlock | None:
        """The block that an access key stands for."""
        ...

    def issuer(self, kid: str) -> KnownIssuer | None: ...

    def blocks_of_issuer(self, kid: str, issued_before: datetime | None) -> tuple[str, ...]:
        """The blocks that are known to rest on an issuer key, all or those of capabilities issued before an instant."""
        ...

    def is_block_revoked(self, block_id: str) -> bool: ...

    def is_cut(self, kind: SubjectKind, subject: str, issued_before: datetime | None) -> bool:
        """Whether a revocation of it, with that very cut-off, has asked for its calls to be cut."""
        ...

    def revoke_issuer(self, kid: str, issued_before: datetime | None) -> None: ...


class RevocationService:
    """The one way to revoke, for the command line and the API alike, inside one transaction."""

    def __init__(  # noqa: PLR0917 - one argument per port, joined in one place
        self,
        store: RevocationStore,
        repository: GrantRepository,
        grants: GrantService,
        keys: KeyService,
        key_store: KeyStore,
        clock: Clock,
    ) -> None:
        self._store = store
        self._repository = repository
        self._grants = grants
        self._keys = keys
        self._key_store = key_store
        self._clock = clock

    def find(self, word: str, issued_before: datetime | None = None) -> Subject | Problem:
        """What a word names: `kind:id`, or an id or a path alone where it names one thing only."""
        with self._repository.read() as reads:
            tree = Tree(reads.load_tree())
        if shown := _SHOWN.fullmatch(word):
            return self._shown(tree, shown[1], shown[2])
        kind, colon, rest = word.partition(":")
        if colon and kind in KINDS:
            subject = self._named(tree, kind, rest, issued_before)
            return subject if subject is not None else _unknown(kind, rest)
        found = [one for kind in KINDS if (one := self._named(tree, kind, word, issued_before)) is not None]
        if len(found) == 1:
            return found[0]
        if found:
            which = " or ".join(f"`{one.kind}:{word}`" for one in found)
            detail = f"`{word}` names {len(found)} things: say {which}"
            return Problem(code="ambiguous_subject", path="", field="subject", detail=detail)
        return _unknown("block" if _BLOCK.fullmatch(word) else "", word)

    def find_token(self, text: str) -> Subject | Problem:
        """The last block of a capability, over or revoked or not.

        Its signatures have to verify: a text that was changed on its way would name a block that nobody has, and whoever
        revoked that would believe that the capability was ended.
        """
        said = inspect(text)
        if isinstance(said, CapabilityProblem):
            return _no_capability(said)
        issuer = self._store.issuer(said.kid)
        known = {} if issuer is None else {issuer.kid: IssuerKey(issuer.kid, issuer.public_key)}
        verified = verify(text, known, said.audience, self._clock.now())
        if isinstance(verified, CapabilityProblem) and verified.code == "invalid":
            return _no_capability(verified)
        with self._repository.read() as reads:
            grant = Tree(reads.load_tree()).find(said.grant)
        if grant is None:
            return Problem(code="unknown_grant", path="", detail="the capability's grant does not exist here")
        ids = tuple(reversed(said.block_ids))
        found = self._block(ids, grant, datetime.fromtimestamp(said.not_after, UTC))
        return replace(found, limits={block.block_id: block.limits for block in said.blocks})

    def revoke(
        self, subject: Subject, by: Authorship, *, cut: bool, issued_before: datetime | None = None
    ) -> Revocation | Problem:
        """Ends it for good, and tells every gateway with the commit. A problem leaves no trace if the write is rolled back.

        What was revoked before is revoked again only to cut, once, the calls that were left to finish then.
        """
        if issued_before is not None and subject.kind != "issuer":
            detail = "only what an issuer key has signed can be revoked by when it was issued"
            return Problem(code="issued_before_not_allowed", path="", field="issued_before", detail=detail)
        problem = self._end(subject, by, issued_before)
        if problem is not None and not (
            cut and problem.code == "already_revoked" and self._may_still_cut(subject, issued_before)
        ):
            return problem
        return self._record(subject, by, cut=cut, issued_before=issued_before)

    def revoke_grant(self, grant_ref: str, by: Authorship) -> Answer:
        """Ends a grant as `GrantService.revoke` does, recorded as every other revocation; one that was over stays as it is."""
        with self._repository.read() as reads:
            grant = Tree(reads.load_tree()).find(grant_ref)
        answer = self._grants.revoke(grant_ref, by)
        if grant is not None and grant.status != "revoked" and isinstance(answer, Written):
            self._record(Subject(kind="grant", id=grant.id, name=f"`{grant.path}`", grant=grant), by)
        return answer

    def revoke_key(self, key_id: str, by: Authorship) -> StoredKey | Problem:
        """Ends an access key as `KeyService.revoke` does, recorded as every other revocation."""
        revoked = self._keys.revoke(key_id, by.actor)
        if isinstance(revoked, Problem):
            return revoked
        with self._repository.read() as reads:
            grant = Tree(reads.load_tree())[revoked.grant_id]
        self._record(Subject(kind="key", id=key_id, name=f"access key `{key_id}`", grant=grant), by)
        return revoked

    def _record(
        self, subject: Subject, by: Authorship, *, cut: bool = False, issued_before: datetime | None = None
    ) -> Revocation:
        now = self._clock.now()
        return self._store.insert(
            Revocation(
                id=new_id("rev", now),
                kind=subject.kind,
                subject=subject.id,
                grant_id=None if subject.grant is None else subject.grant.id,
                cut_streams=cut,
                issued_before=issued_before,
                keep_until=subject.keep_until,
                tree_revision=0,
                revoked_at=now,
                revoked_by=by.actor.name,
                reason=by.reason,
            )
        )

    def _may_still_cut(self, subject: Subject, issued_before: datetime | None) -> bool:
        """Whether calls may be under way that were left to finish when this was revoked.

        Of an issuer key everything that it does not sign for any more is cut, so no other cut-off than its own will do.
        """
        if subject.kind == "issuer":
            issuer = self._store.issuer(subject.id)
            ended = issuer is not None and (issuer.status == "revoked" or issuer.min_issued_at is not None)
            stands = None if issuer is None or issuer.status == "revoked" else issuer.min_issued_at
            if not ended or issued_before != stands:
                return False
        return not self._store.is_cut(subject.kind, subject.id, issued_before)

    def _end(self, subject: Subject, by: Authorship, issued_before: datetime | None) -> Problem | None:
        if subject.kind == "issuer":
            return self._end_issuer(subject.id, by, issued_before)
        grant = subject.grant
        assert grant is not None
        with self._repository.read() as reads:
            permitted = permitted_grant(Tree(reads.load_tree()), grant.id, by.actor, "revoke anything of", living=False)
        if isinstance(permitted, Problem):
            return permitted
        if subject.kind == "grant":
            if grant.status == "revoked":
                return _again(f"`{grant.path}` was revoked before", grant.path)
            answer = self._grants.revoke(grant.id, by)
            return answer.problems[0] if isinstance(answer, NotWritten) else None
        if subject.kind == "key":
            revoked = self._keys.revoke(subject.id, by.actor)
            return revoked if isinstance(revoked, Problem) else None
        if subject.is_over:
            return _again(f"block `{subject.id}` was revoked before", grant.path)
        return None

    def _end_issuer(self, kid: str, by: Authorship, issued_before: datetime | None) -> Problem | None:
        if not by.actor.is_admin:
            detail = f"`{by.actor.name}` may not revoke issuer keys: that takes an admin"
            return Problem(code="not_permitted", path="", detail=detail)
        issuer = self._store.issuer(kid)
        assert issuer is not None, "it was found in this very write"
        if issuer.status == "revoked":
            return _again(f"issuer key `{kid}` was revoked before")
        if issued_before is None:
            if issuer.status == "signing":
                detail = (
                    f"issuer key `{kid}` signs at present: rotate first with `remit issuer rotate`, or give an instant"
                )
                return Problem(code="issuer_key_signs", path="", field="subject", detail=detail)
        elif issued_before > self._clock.now() + timedelta(seconds=1):
            detail = "a cut-off does not lie in the future: what is made until then would be dead from the start"
            return Problem(code="issued_before_in_the_future", path="", field="issued_before", detail=detail)
        elif issuer.min_issued_at is not None and issued_before <= issuer.min_issued_at:
            return _again(
                f"what issuer key `{kid}` had signed before {issuer.min_issued_at.isoformat()} was revoked before"
            )
        self._store.revoke_issuer(kid, issued_before)
        return None

    def _shown(self, tree: Tree, path: str | None, digits: str) -> Subject | Problem:
        """The block whose id begins so, below that grant if one is named."""
        ids = (digits,) if _BLOCK.fullmatch(digits) else self._store.blocks_beginning(digits)
        if len(ids) > 1:
            detail = f"several blocks begin with `{digits}`: say more digits of the id"
            return Problem(code="ambiguous_subject", path="", field="subject", detail=detail)
        known = self._store.block(ids[0]) if ids else None
        if known is None or (path is not None and tree[known.grant_id].path != path):
            return _unknown("block", digits if path is None else f"{path}#{digits}")
        return self._block(known.chain, tree[known.grant_id], known.not_after)

    def _named(self, tree: Tree, kind: SubjectKind, word: str, issued_before: datetime | None) -> Subject | None:
        """The thing of that kind; None where there is none, or where a word has not its form."""
        shape = _SHAPES.get(kind)
        if shape is not None and shape.fullmatch(word) is None:
            return None
        if kind == "issuer":
            if self._store.issuer(word) is None:
                return None
            blocks = self._store.blocks_of_issuer(word, issued_before)
            return Subject(kind="issuer", id=word, name=f"issuer key `{word}`", blocks=blocks)
        if kind == "grant":
            grant = tree.find(word)
            return None if grant is None else Subject(kind="grant", id=grant.id, name=f"`{grant.path}`", grant=grant)
        if kind == "key":
            key = self._key_store.find(word)
            block = self._store.block_of_key(word)
            if key is None or block is None:
                return None
            name = f"access key `{key.id}` ({key.name}) of `{tree[key.grant_id].path}`"
            over = key.revoked_at is not None
            return Subject(kind="key", id=key.id, name=name, grant=tree[key.grant_id], blocks=block.chain, is_over=over)
        known = self._store.block(word)
        return None if known is None else self._block(known.chain, tree[known.grant_id], known.not_after)

    def _block(self, chain: tuple[str, ...], grant: Grant, not_after: datetime) -> Subject:
        return Subject(
            kind="block",
            id=chain[0],
            name=f"block `{chain[0][:12]}...` of `{grant.path}`",
            grant=grant,
            blocks=chain,
            keep_until=not_after,
            is_over=self._store.is_block_revoked(chain[0]),
        )


def _no_capability(problem: CapabilityProblem) -> Problem:
    return Problem(
        code="capability_invalid", path="", field="subject", detail=f"this is no capability: {problem.reason}"
    )


def _again(detail: str, path: str = "") -> Problem:
    return Problem(code="already_revoked", path=path, detail=detail)


def _unknown(kind: str, word: str) -> Problem:
    shown = word if len(word) <= 80 else f"{word[:77]}..."
    if kind == "block":
        detail = f"no block `{shown}` is known here: pass the capability itself to `remit revoke -`, on standard input"
    else:
        detail = f"there is no {kind + ' ' if kind else 'grant, key, block or issuer key '}`{shown}`"
    return Problem(code="unknown_subject", path="", field="subject", detail=detail)
