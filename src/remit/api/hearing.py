"""What is heard from channels: who said it, whether it counts, and that it is carried out once."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from remit.kernel.clock import Clock
from remit.notify.channels import OpenChannel
from remit.notify.ports import Decides, Heard, Hook, Intent, NotGenuine, TryAgain
from remit.store.postgres_deliveries import PostgresDeliveries

_log = structlog.get_logger(__name__)
_MAX_TEXT_CHARACTERS = 10_000
UNKNOWN_PERSON = "Remit does not know who you are here, so nothing was decided; whoever runs it can add you to `people`"
UNKNOWN_TICKET = "Remit has no ticket for this"


@dataclass(frozen=True, slots=True)
class HearingAnswer:
    """What to answer the other side: a status, and a word for whoever looks into its delivery log."""

    status: int
    word: str


class Hearing:
    """Hears all channels of this authority."""

    def __init__(
        self, channels: Sequence[OpenChannel], deliveries: PostgresDeliveries, decides: Decides, clock: Clock
    ) -> None:
        self._hooks = [(channel.type, channel.hook) for channel in channels if channel.hook is not None]
        self._deliveries = deliveries
        self._decides = decides
        self._clock = clock

    def receive(self, kind: str, headers: Mapping[str, str], body: bytes) -> HearingAnswer:
        """Hears one request to the hook of a kind. The channel is the one whose secret it is signed with.

        Raises what storage and `Decides` raise; the message was not heard then, and may come again.
        """
        why = "no channel of this type is heard"
        for type_, hook in self._hooks:
            if type_ != kind:
                continue
            try:
                heard = hook.read(headers, body, self._clock.now())
            except ValueError as error:  # JSON and Unicode that cannot be read are ValueErrors as well
                _log.warning("hook_not_read", channel=hook.name, error=type(error).__name__)
                return HearingAnswer(400, "cannot be read")
            if isinstance(heard, NotGenuine):
                why = heard.why
                continue
            return self._each(hook, heard, hashlib.sha256(body).hexdigest())
        _log.warning("hook_refused", kind=kind, error=why)
        return HearingAnswer(401, why)

    def _each(self, hook: Hook, heard: list[Heard], digest: str) -> HearingAnswer:
        """A body is one delivery: the ids that come in headers are not signed, and could be new on an old body."""
        words = []
        for number, one in enumerate(heard):
            if one.is_own:
                words.append("own")
                continue
            person = hook.person(one)
            if isinstance(person, TryAgain):
                _log.warning("author_not_known_yet", channel=hook.name, error=person.why)
                return HearingAnswer(503, "the author could not be looked up")
            words.append(self._carry_out(hook, one, f"{digest}-{number}", person))
        return HearingAnswer(200, ", ".join(words) or "nothing to do")

    def _carry_out(self, hook: Hook, heard: Heard, delivery_id: str, person: str | None) -> str:
        with self._deliveries.hearing(hook.name, delivery_id) as record:
            if record is None:
                return "heard before"
            answer = self._answer(hook, heard, delivery_id, person)
            record(answer)
        if answer:
            hook.say(heard, answer)
        return "heard"

    def _answer(self, hook: Hook, heard: Heard, delivery_id: str, person: str | None) -> str:
        """What to say. To an unknown author's comment nothing: it would be answered, and that answer answered."""
        if person is None:
            _log.warning("author_unknown", channel=hook.name, author=heard.author, action=heard.action)
            return "" if heard.action == "comment" else UNKNOWN_PERSON
        ticket_id = heard.ticket_id
        if ticket_id is None and heard.remote_ref is not None:
            ticket_id = self._deliveries.ticket_of(hook.name, heard.remote_ref)
        if ticket_id is None and heard.action != "open":
            return UNKNOWN_TICKET if heard.action in ("approve", "decline") else ""
        intent = Intent(
            source=hook.name,
            delivery_id=delivery_id,
            action=heard.action,
            person=person,
            text=heard.text[:_MAX_TEXT_CHARACTERS],
            ticket_id=ticket_id,
            remote_ref=heard.remote_ref,
        )
        return self._decides.carry_out(intent)
