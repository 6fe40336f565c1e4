"""What the ledger comes to, signed, and proofs that lead to it."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from litestar import Controller, Response, get
from litestar.params import QueryParameter

from remit.api.answers import Given
from remit.api.bodies import StrictRequest
from remit.api.grants import seen
from remit.api.params import Injected
from remit.api.problems import PROBLEM_RESPONSES, refuse
from remit.ledger.merkle import leaf_hash
from remit.ledger.proving import NotProvableError, prove_entry, prove_growth

Size = Annotated[int | None, QueryParameter(ge=1, le=2**63 - 1, description="in the tree of so many entries")]
SizeOf = Annotated[int, QueryParameter(ge=1, le=2**63 - 1, description="a size of the tree")]


class InclusionGiven(Given, frozen=True, kw_only=True):
    """`path` leads from the leaf of `entry` at `index` to `root`; all hashes are base64. `checkpoint` is the note of that size."""

    entry: dict[str, Any]
    index: int
    size: int
    leaf_hash: str
    path: list[str]
    root: str
    checkpoint: str | None


class ConsistencyGiven(Given, frozen=True, kw_only=True):
    """`path` proves that the tree of `to_size` entries begins with all of that of `from_size`; all hashes are base64."""

    from_size: int
    from_root: str
    to_size: int
    to_root: str
    path: list[str]


class Proofs(Controller):
    """Reads only. A checkpoint says nothing about entries but how many there are."""

    path = "/v1/ledger"
    tags = ["ledger"]  # noqa: RUF012 - the framework reads it from the class

    @get("/checkpoint", sync_to_thread=True, responses=PROBLEM_RESPONSES, media_type="text/plain")
    def checkpoint(self, services: Injected) -> Response[str]:
        """The newest checkpoint: a signed note."""
        with services.seals.snapshot() as sealed:
            published = sealed.published(None)
        if published is None:
            raise refuse("no_checkpoint", "nothing was sealed and signed yet", status=404)
        return Response(published.note, media_type="text/plain; charset=utf-8")

    @get("/proofs/inclusion", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def inclusion(
        self,
        request: StrictRequest,
        services: Injected,
        entry: Annotated[str, QueryParameter(description="the id of an entry", min_length=1, max_length=200)],
        size: Size = None,
    ) -> InclusionGiven:
        """A proof that an entry one may see is in the ledger that was signed."""
        tops = seen(services, request.user, "read_ledger").tops()
        with services.seals.snapshot() as sealed:
            try:
                proof = prove_entry(sealed, entry, size, tops)
            except NotProvableError as error:
                raise _refused(error) from None
        return InclusionGiven(
            entry=msgspec.json.decode(proof.entry),
            index=proof.index,
            size=proof.size,
            leaf_hash=_text([leaf_hash(proof.entry)])[0],
            path=_text(proof.path),
            root=_text([proof.root])[0],
            checkpoint=proof.note,
        )

    @get("/proofs/consistency", sync_to_thread=True, responses=PROBLEM_RESPONSES)
    def consistency(self, services: Injected, from_size: SizeOf, to_size: SizeOf) -> ConsistencyGiven:
        """A proof that the ledger of one size begins with all of the ledger of a smaller size."""
        with services.seals.snapshot() as sealed:
            try:
                proof = prove_growth(sealed, from_size, to_size)
            except NotProvableError as error:
                raise _refused(error) from None
        old_root, new_root = _text([proof.old_root, proof.new_root])
        return ConsistencyGiven(
            from_size=proof.old, from_root=old_root, to_size=proof.new, to_root=new_root, path=_text(proof.path)
        )


def _refused(error: NotProvableError) -> Exception:
    code, status = ("unknown_entry", 404) if error.is_unknown else ("not_provable", 409)
    return refuse(code, str(error), status=status)


def _text(hashes: Iterable[bytes]) -> list[str]:
    return [b64encode(one).decode() for one in hashes]
