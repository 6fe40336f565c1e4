"""The life of one request, from the parsed head to the settled hold."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from remit.gateway import answers
from remit.gateway.answers import Ids
from remit.gateway.breaking import Breaking, operation_of
from remit.gateway.decide import (
    CHAT_SURFACE,
    Admission,
    CallerTags,
    Rulebook,
    decide,
    refused_as_bearer,
    with_exact_count,
)
from remit.gateway.forward import Forwarding
from remit.gateway.holding import KnownChains, wanted_hold
from remit.gateway.models import models_answer
from remit.gateway.noting import Noting, tags_of
from remit.gateway.operations import Operations, attempt_of, trace_id_of
from remit.gateway.principal import Principal, authenticate, still_refused
from remit.gateway.proving import Presented, presented_by
from remit.gateway.settlement import VendorResult, ending_of
from remit.gateway.snapshot import TreeSnapshot
from remit.gateway.watching import Watching
from remit.gateway.wire.exchange import Exchange
from remit.gateway.wire.head import Headers
from remit.kernel.clock import Clock
from remit.kernel.decisions import RefusalCode, Refused
from remit.kernel.ids import new_id
from remit.leases.model import Ending, WantedHold
from remit.leases.ports import (
    AuthorityUnreachableError,
    FinishedHold,
    HoldRefused,
    Lessor,
    StaleTreeError,
    TakenHold,
)
from remit.leases.rules import refusal_of_hold
from remit.providers.openai import ChatRequest, Problem, clamp, parse_chat_request
from remit.settings import HOLD_MARGIN_SECONDS, GatewaySettings

_log = structlog.get_logger("remit.request")
_MAX_TREE_READS = 20
# A body up to this size is read before its credential is looked at, as the precedence of refusals says.
FREE_PARSE_BYTES = 64 * 1024
# A call whose hold took so long that less than this part of its time is left is refused instead of cut off, and paid for.
LEAST_PART_OF_CALL = 0.5
_CHAT = (b"POST", b"/v1/chat/completions")
_MODELS = (b"GET", b"/v1/models")
_HEALTH = (b"GET", b"/healthz")


class Gateway:
    """Answers exchanges. One per process and event loop; `snapshot` is replaced whole when the tree changes."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        renew_url: str | None,
        rulebook: Rulebook,
        lessor: Lessor,
        clock: Clock,
        snapshot: TreeSnapshot,
        reread: Callable[[], Awaitable[TreeSnapshot]],
        revision: Callable[[], Awaitable[int | None]],
        noting: Noting,
        breaking: Breaking,
        watching: Watching | None = None,
    ) -> None:
        self._settings = settings
        self._renew_url = renew_url
        self._rulebook = rulebook
        self._lessor = lessor
        self._clock = clock
        self.snapshot = snapshot
        self._reread = reread
        self._revision = revision
        self._noting = noting
        self._breaking = breaking
        self._watching = watching
        breaking.install(snapshot)
        self._operations = Operations()
        self._known = KnownChains()
        self._calls: set[asyncio.Task[None]] = set()
        self._running: dict[Forwarding, Admission] = {}

    def handle(self, exchange: Exchange) -> None:
        """Starts to answer; returns at once."""
        if (exchange.method, exchange.path) == _HEALTH:
            exchange.respond(200, [answers.JSON], b'{"status":"ok"}')
            return
        task = asyncio.get_running_loop().create_task(self._answer(exchange))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def install(self, snapshot: TreeSnapshot) -> None:
        """Goes by this tree from now on, unless a newer one is known, and cuts the calls that it says are to end."""
        if snapshot.revision <= self.snapshot.revision:
            return
        self.snapshot = snapshot
        self._breaking.install(snapshot)
        for forwarding, admission in list(self._running.items()):
            principal = admission.principal
            if snapshot.cuts(principal.verified, principal.key_id):
                forwarding.cut("it was revoked while the call ran")

    def malformed(self, status: int, reason: str) -> tuple[Headers, bytes]:
        """Headers and body for bytes that are no request; the wire answers them and closes the connection."""
        now = self._clock.now()
        ids = Ids(new_id("req", now), new_id("dec", now))
        _log.info("malformed", request_id=ids.request, decision_id=ids.decision, status=status, detail=reason)
        return answers.unreadable(status, reason, ids)

    @property
    def running(self) -> int:
        """How many calls are with vendors."""
        return len(self._running)

    async def idle(self) -> None:
        """Waits until every call is settled, also those whose callers have left."""
        while self._calls:
            await asyncio.wait(set(self._calls))

    async def _answer(self, exchange: Exchange) -> None:
        now = self._clock.now()
        seen = None if self._watching is None else self._watching.begin(exchange)
        ids = Ids(new_id("req", now), new_id("dec", now), seen=seen)
        try:
            if (exchange.method, exchange.path) == _CHAT:
                await self._chat(exchange, ids, now)
            else:
                await self._other(exchange, ids, now)
        except AuthorityUnreachableError:
            self._refuse(exchange, _unreachable(None, None), ids)
        except Exception:  # noqa: BLE001 - a fault of ours ends this request, not the process
            self._fail(exchange, ids, cost_nanousd=0)
        finally:
            self._breaking.done(ids.request)
            if seen is not None:
                seen.tell((ids.request, ids.decision), now, self._clock.now())

    def _fail(self, exchange: Exchange, ids: Ids, cost_nanousd: int) -> None:
        """Ends a request that met a fault of ours, the exception being handled."""
        _log.exception("request_failed", request_id=ids.request)
        if ids.seen is not None:
            ids.seen.failed(cost_nanousd)
        if exchange.started:
            exchange.abort()
        else:
            money = answers.money_headers(cost_nanousd, None)
            exchange.respond(*answers.failure(500, "gateway_failed", "the gateway failed to answer", ids, money))

    async def _other(self, exchange: Exchange, ids: Ids, now: datetime) -> None:
        snapshot = self.snapshot
        answer = self._other_answer(exchange, now)
        if isinstance(answer, Refused) and await self._tree_has_changed(snapshot):
            answer = self._other_answer(exchange, now)
        if isinstance(answer, Refused):
            self._refuse(exchange, answer, ids)
        else:
            exchange.respond(200, [*ids.headers(), answers.JSON, (answers.COST, b"0")], answer)

    def _other_answer(self, exchange: Exchange, now: datetime) -> bytes | Refused:
        """Everything but the one metered surface: the list of models, or a refusal."""
        principal = self._authenticate(self._presented(exchange), now)
        if isinstance(principal, Refused):
            return principal
        if refused := principal.leaf.grant.refusal_at(now):
            return refused
        if (exchange.method, exchange.path) == _MODELS:
            return refused_as_bearer(self._rulebook, principal) or models_answer(self._rulebook, principal, now)
        where = f"{exchange.method[:16].decode('ascii', 'replace')} {exchange.path[:128].decode('ascii', 'replace')}"
        node = principal.leaf.grant.leaf
        detail = f"`{where}` is not a surface that is metered here, so nothing is passed on"
        return Refused(code=RefusalCode.surface_not_allowed, detail=detail, path=node.path, owner=node.owner)

    async def _tree_has_changed(self, snapshot: TreeSnapshot) -> bool:
        """Whether the tree is another one by now; then it was read. No refusal rests on an outdated tree.

        A hold carries its revision to the database. A refusal takes no hold, so here the revision has to be asked for.
        Raises AuthorityUnreachableError where it cannot be.
        """
        revision = await self._revision()
        if revision is None:
            raise AuthorityUnreachableError("the tree's revision cannot be asked for")
        if revision <= snapshot.revision:
            return False
        for _ in range(_MAX_TREE_READS):
            # A reading that others had begun before may still be of an older tree.
            if self.snapshot.revision >= revision:
                return True
            self.install(await self._reread())
        raise AuthorityUnreachableError("the tree changes faster than it can be read")

    async def _stranger(self, presented: Presented, now: datetime) -> Refused | None:
        """Why the caller is nobody who is known here, None where they are."""
        snapshot = self.snapshot
        found = self._authenticate(presented, now)
        if isinstance(found, Refused) and await self._tree_has_changed(snapshot):
            found = self._authenticate(presented, now)
        return found if isinstance(found, Refused) else None

    async def _chat(self, exchange: Exchange, ids: Ids, now: datetime) -> None:
        presented = self._presented(exchange)
        if len(exchange.body) > FREE_PARSE_BYTES and (stranger := await self._stranger(presented, now)) is not None:
            # Strangers do not get to keep the process busy reading megabytes; for them precedence gives way.
            return self._refuse(exchange, stranger, ids)
        request = parse_chat_request(exchange.body)
        tags = tags_of(exchange, request)
        operation = operation_of(exchange)
        if isinstance(request, Problem) and request.code is RefusalCode.malformed_request:
            return self._refuse(exchange, Refused(code=request.code, detail=request.detail), ids)
        if isinstance(tags, Problem):
            return self._refuse(exchange, Refused(code=tags.code, detail=tags.detail), ids)
        if isinstance(operation, Problem):
            return self._refuse(exchange, Refused(code=operation.code, detail=operation.detail), ids)
        held = await self._admit_and_hold(exchange, presented, request, tags, operation, ids)
        if isinstance(held, Refused):
            return self._refuse(exchange, held, ids)
        await self._serve(exchange, *held, ids)
        return None

    async def _admit_and_hold(  # noqa: PLR0917 - the parts of one request
        self,
        exchange: Exchange,
        presented: Presented,
        request: ChatRequest | Problem,
        tags: CallerTags,
        named: str | None,
        ids: Ids,
    ) -> tuple[Admission, WantedHold] | Refused:
        """Decides on the tree as it is; where it has changed meanwhile, decides again on the new one."""
        path, owner, operation = None, None, None
        for _ in range(_MAX_TREE_READS):
            snapshot, now = self.snapshot, self._clock.now()
            principal = self._authenticate(presented, now)
            admission = (
                principal if isinstance(principal, Refused) else decide(self._rulebook, principal, request, tags, now)
            )
            held = (
                admission
                if isinstance(admission, Refused)
                else self._breaking.refusal(admission, exchange.body, named, ids.request, now)
            )
            if isinstance(admission, Refused) or held is not None:
                if await self._tree_has_changed(snapshot):
                    continue
                assert isinstance(held, Refused)
                return held
            path, owner = admission.path, admission.principal.leaf.grant.leaf.owner
            # Only now: strangers' requests are not worth remembering.
            operation = operation or self._operations.of(exchange, now)
            try:
                named_ids = replace(ids, operation=operation, attempt=attempt_of(exchange), trace=trace_id_of(exchange))
                return await self._hold(snapshot, admission, named_ids, now)
            except StaleTreeError as stale:
                if self.snapshot.revision < stale.current_revision:
                    try:
                        self.install(await self._reread())
                    except AuthorityUnreachableError:
                        break
            except AuthorityUnreachableError:
                break
        return _unreachable(path, owner)

    async def _hold(
        self, snapshot: TreeSnapshot, admission: Admission, ids: Ids, now: datetime
    ) -> tuple[Admission, WantedHold] | Refused:
        expires_at = now + timedelta(seconds=self._settings.hold_seconds)
        principal = admission.principal
        hold = wanted_hold(admission, ids, snapshot.revision, now, expires_at, known=self._known)
        answer = await self._lessor.take(hold, snapshot.revision)
        if _bound_matters(answer) and (better := with_exact_count(self._rulebook, admission, now)) is not None:
            admission = better
            hold = wanted_hold(admission, ids, snapshot.revision, now, expires_at, known=self._known)
            answer = await self._lessor.take(hold, snapshot.revision)
        if isinstance(answer, TakenHold):
            self._known.add(principal.verified)
            self._noting.admitted(admission)
            return admission, hold
        nodes = principal.leaf.terms_with(principal.verified.blocks)
        return refusal_of_hold(answer, nodes, principal.leaf.terms[-1], now=now, renew_url=None)

    async def _serve(self, exchange: Exchange, admission: Admission, hold: WantedHold, ids: Ids) -> None:
        """Forwards and settles. A fault of ours on the way ends the hold at once, by whether anything was sent."""
        if ids.seen is not None:
            ids.seen.admitted(admission, hold)
        if exchange.gone:
            # Nobody waits for the answer any more and nothing was sent: it need not cost anything.
            await self._lessor.finish(Ending(hold_id=hold.id, outcome="voided"))
            return
        seconds = self._seconds_for_call(hold)
        if seconds is None:
            await self._lessor.finish(Ending(hold_id=hold.id, outcome="voided"))
            self._refuse(exchange, _unreachable(admission.path, admission.principal.leaf.grant.leaf.owner), ids)
            return
        if (refused := self._revoked_meanwhile(admission, hold)) is not None:
            await self._lessor.finish(Ending(hold_id=hold.id, outcome="voided"))
            self._refuse(exchange, refused, ids)
            return
        forwarding = None
        try:
            message = _vendor_message(exchange.body, admission, hold, ids)
            exchange.body = b""
            forwarding = _forwarding(exchange, admission, hold, ids)
            # Nothing is awaited since the tree was looked at: a later one finds this call among those that run.
            self._running[forwarding] = admission
            forwarding.begin(admission.deployment.pool, message, seconds)
            await self._settle(forwarding, admission, hold, ids)
        except Exception:  # noqa: BLE001 - a fault of ours ends this request, not the process
            sent = forwarding is not None and forwarding.sent
            self._fail(exchange, ids, cost_nanousd=hold.ceiling_nanousd if sent else 0)
            note = {"note": "cost unknown: the gateway failed"} if sent else {}
            await self._lessor.finish(Ending(hold_id=hold.id, outcome="suspense" if sent else "voided", entry=note))
        finally:
            if forwarding is not None:
                self._running.pop(forwarding, None)

    def _revoked_meanwhile(self, admission: Admission, hold: WantedHold) -> Refused | None:
        """Why a call that was admitted is not sent after all: its hold was taken on a tree that is outdated by now."""
        if hold.entry["policy_version"] == self.snapshot.revision:
            return None
        return still_refused(self.snapshot, admission.principal, self._clock.now())

    async def _settle(self, forwarding: Forwarding, admission: Admission, hold: WantedHold, ids: Ids) -> None:
        result = await forwarding.finished
        ending = ending_of(hold.id, admission, result, self._rulebook.prices, hold.taken_at)
        finished = await self._lessor.finish(ending)
        cost = _cost_of(ending, hold)
        if ids.seen is not None:
            ids.seen.ended(result, ending, cost)
        self._breaking.spent(ids.request, cost, self._clock.now())
        money = answers.money_headers(cost, finished.tightest, admission.paths)
        if forwarding.cut_for is not None:
            self._conclude_cut(forwarding, admission, hold, ids, cost)
        else:
            self._conclude(forwarding.exchange, forwarding, result, ids, money)
        amounts = {"ceiling_nanousd": hold.ceiling_nanousd, "cost_nanousd": cost}
        _log_served(ids, admission, hold, result, finished, **amounts, tokens=ending.tokens)

    def _conclude_cut(
        self, forwarding: Forwarding, admission: Admission, hold: WantedHold, ids: Ids, cost_nanousd: int
    ) -> None:
        """The end of a call that was cut: of a stream that was begun nothing more comes, anything else is refused."""
        _log.warning(
            "call_cut",
            request_id=ids.request,
            decision_id=ids.decision,
            path=admission.path,
            hold_id=hold.id,
            booked_nanousd=cost_nanousd,
            reason=forwarding.cut_for,
        )
        if forwarding.streamed:
            forwarding.exchange.abort()
            return
        owner = admission.principal.leaf.grant.leaf.owner
        detail = f"the capability was revoked while the call ran; ask `{owner}`"
        refused = Refused(code=RefusalCode.capability_revoked, detail=detail, path=admission.path, owner=owner)
        self._refuse(forwarding.exchange, refused, ids, cost_nanousd)

    def _seconds_for_call(self, hold: WantedHold) -> float | None:
        """How long the call may run, so that it ends before its hold; None where that is too short to be worth its cost.

        The hold's time began before it was taken, and taking it may have lasted.
        """
        left = (hold.expires_at - self._clock.now()).total_seconds() - HOLD_MARGIN_SECONDS
        promised = self._settings.request_seconds
        return min(promised, left) if left >= promised * LEAST_PART_OF_CALL else None

    def _conclude(
        self, exchange: Exchange, forwarding: Forwarding, result: VendorResult, ids: Ids, money: Headers
    ) -> None:
        """The answer, now that the call is settled."""
        if forwarding.streamed:
            if result.broken is None:
                exchange.finish(money)
            else:
                exchange.abort()
        elif not result.sent:
            detail = f"the vendor could not be reached: {result.broken}"
            self._refuse(exchange, Refused(code=RefusalCode.no_deployment, detail=detail, retry_after_seconds=1), ids)
        elif result.status is None or result.broken is not None:
            detail = f"the vendor's answer broke off: {result.broken}"
            exchange.respond(*answers.failure(502, "vendor_failed", detail, ids, money))
        elif result.status in (401, 403) or 300 <= result.status < 400:
            # The first are about our key at the vendor, not about the caller's key here; redirects are not followed.
            why = " to our key" if result.status > 400 else ", which is not followed"
            detail = f"the vendor answered {result.status}{why}"
            exchange.respond(*answers.failure(502, "vendor_failed", detail, ids, money))
        else:
            self._pass_on(exchange, forwarding, result.status, [*ids.headers(), *money])

    @staticmethod
    def _pass_on(exchange: Exchange, forwarding: Forwarding, status: int, headers: Headers) -> None:
        """A whole answer of the vendor's, if it is JSON as this surface's callers expect it."""
        if forwarding.retry_after is not None and status >= 400:
            headers = [*headers, (b"retry-after", forwarding.retry_after)]
        if forwarding.is_json:
            exchange.respond(status, [*headers, answers.JSON], b"".join(forwarding.body))
        elif status in (204, 205):
            exchange.respond(status, headers, b"")
        else:
            exchange.respond(status if status >= 400 else 502, [*headers, answers.JSON], answers.no_json(status))

    def _presented(self, exchange: Exchange) -> Presented:
        return presented_by(exchange, self._settings.public_url)

    def _authenticate(self, presented: Presented, now: datetime) -> Principal | Refused:
        return authenticate(self.snapshot, presented, self._settings.audience, now)

    def _refuse(self, exchange: Exchange, refused: Refused, ids: Ids, cost_nanousd: int = 0) -> None:
        exchange.respond(*answers.refusal(refused, ids, self._renew_url, cost_nanousd))
        if ids.seen is not None:
            ids.seen.refused(refused)
        self._noting.refused(self.snapshot, self._presented(exchange), refused, ids)
        _log.info(
            "refused",
            request_id=ids.request,
            decision_id=ids.decision,
            code=refused.code.name,
            status=refused.status,
            path=refused.path,
            binding_node=refused.binding_node,
            detail=refused.detail,
        )


def _vendor_message(body: bytes, admission: Admission, hold: WantedHold, ids: Ids) -> bytes:
    """The request as it goes to the vendor, head and body."""
    deployment = admission.deployment
    body = clamp(body, admission.request, output_tokens_max=admission.output_bound, options=deployment.clamp)
    return b"POST %b HTTP/1.1\r\n%b%bx-client-request-id: %b\r\nidempotency-key: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        deployment.target,
        deployment.fixed_headers,
        b"" if ids.seen is None else ids.seen.for_vendor,
        ids.request.encode(),
        hold.id.encode(),
        len(body),
        body,
    )


def _forwarding(exchange: Exchange, admission: Admission, hold: WantedHold, ids: Ids) -> Forwarding:
    request = admission.request
    stream_headers = [*ids.headers(), (b"remit-held-nanousd", b"%d" % hold.ceiling_nanousd)]
    return Forwarding(
        exchange,
        stream_headers if request.stream else None,
        hide_usage=not request.include_usage,
        choices=request.choices,
    )


def _log_served(
    ids: Ids, admission: Admission, hold: WantedHold, result: VendorResult, finished: FinishedHold, **amounts: int
) -> None:
    _log.info(
        "served",
        request_id=ids.request,
        decision_id=ids.decision,
        operation_id=hold.operation_id,
        path=admission.path,
        surface=CHAT_SURFACE,
        model=admission.request.model,
        deployment=admission.deployment.name,
        status=result.status,
        broken=result.broken,
        outcome=finished.outcome,
        hold_id=hold.id,
        **amounts,
    )


def _unreachable(path: str | None, owner: str | None) -> Refused:
    return Refused(
        code=RefusalCode.authority_unreachable,
        detail="no hold can be taken now, and nothing is sent without one",
        path=path,
        owner=owner,
        retry_after_seconds=1,
    )


def _bound_matters(answer: TakenHold | HoldRefused) -> bool:
    """Whether a hold was not taken that a lower ceiling could make fit."""
    return isinstance(answer, tuple) and all(failure.dimension != "requests" for failure in answer)


def _cost_of(ending: Ending, hold: WantedHold) -> int:
    return {"settled": ending.usd, "voided": 0, "suspense": hold.ceiling_nanousd}[ending.outcome]
