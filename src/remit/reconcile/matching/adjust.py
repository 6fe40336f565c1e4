"""From findings to what is proposed to book, and to what the price book and the ceilings should learn."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from remit.kernel.usage import Usage
from remit.ledger.accounting import Adjustment
from remit.reconcile.matching.cause import Cause
from remit.reconcile.matching.cells import KEY_FIELDS, CellKey, LedgerCell, Quantity
from remit.reconcile.matching.claims import Finding, PriceError
from remit.reconcile.matching.shares import divide

_KINDS: Final = {
    "input": "input_tokens",
    "input_image": "input_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_tokens",
    "input_audio": "input_audio_tokens",
    "output": "output_tokens",
    "reasoning": "output_tokens",
    "output_audio": "output_audio_tokens",
}
ABOVE_CEILING: Final = frozenset(
    {
        Cause.REASONING_HIDDEN,
        Cause.SERVER_TOOL_TOKENS,
        Cause.SYSTEM_TOKENS,
        Cause.TOKENIZER_CHANGE,
        Cause.LONG_CONTEXT,
        Cause.MINIMUM_BILLING,
    }
)
"""What a ceiling did not foresee where it makes calls dearer: limits bind too late until ceilings cover it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CeilingError:
    """Calls of a model can cost more than their ceilings say, because of a cause; so much more was found, in nano-USD."""

    vendor: str
    model: str | None
    cause: Cause
    amount_nanousd: int
    requests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What follows from a month's findings. Nothing of it happens by itself.

    The adjustments of each finding sum to its amount. `explained` and `to_look_into` are the findings that none is booked for.
    """

    adjustments: tuple[Adjustment, ...]
    explained: tuple[Finding, ...]
    to_look_into: tuple[Finding, ...]
    price_errors: tuple[PriceError, ...]
    ceiling_errors: tuple[CeilingError, ...]


def propose(findings: Sequence[Finding], ledger: Sequence[LedgerCell], *, unassigned_grant_id: str) -> Proposal:
    """Adjustments for the findings whose cause is booked, borne by use.

    Each is divided between the grants that spent in the cells it is about, in proportion to what they spent there; where nobody
    did, it is the organization's own grant for what nobody is assigned.
    """
    booked = [one for one in findings if one.proposal == "adjustment" and one.amount_nanousd]
    index = _Index(ledger)
    adjustments = [
        adjustment for one in booked for adjustment in _adjustments(one, index.weights(one), unassigned_grant_id)
    ]
    return Proposal(
        adjustments=tuple(adjustments),
        explained=tuple(one for one in findings if one.proposal == "explained"),
        to_look_into=tuple(one for one in findings if one.proposal == "look"),
        price_errors=tuple(error for one in findings for error in one.price_errors),
        ceiling_errors=tuple(_ceiling_errors(findings)),
    )


class _Index:
    """The ledger's cells by the fields that findings name most."""

    def __init__(self, ledger: Iterable[LedgerCell]) -> None:
        self._by_vendor: dict[str, list[LedgerCell]] = {}
        self._by_key: dict[tuple[str, str | None, str | None], list[LedgerCell]] = {}
        for cell in ledger:
            self._by_vendor.setdefault(cell.key.vendor, []).append(cell)
            self._by_key.setdefault((cell.key.vendor, cell.key.project, cell.key.key_id), []).append(cell)

    def weights(self, finding: Finding) -> dict[str, int]:
        """Who spent how much where the finding is: in its days, or in the whole month where nobody did then."""
        key = finding.key
        if key.project is not None and key.key_id is not None:
            candidates = self._by_key.get((key.vendor, key.project, key.key_id), [])
        else:
            candidates = self._by_vendor.get(key.vendor, [])
        cells = [cell for cell in candidates if _covers(key, cell.key)]
        days = set(finding.days)
        return _spent(cell for cell in cells if cell.day in days) or _spent(cells)


def _covers(stated: CellKey, key: CellKey) -> bool:
    return all(getattr(stated, name) in {None, getattr(key, name)} for name in KEY_FIELDS)


def _spent(cells: Iterable[LedgerCell]) -> dict[str, int]:
    spent: dict[str, int] = {}
    for cell in cells:
        for grant, amount in cell.grants.items():
            spent[grant] = spent.get(grant, 0) + amount
    return {grant: amount for grant, amount in spent.items() if amount > 0}


def _adjustments(finding: Finding, weights: Mapping[str, int], unassigned_grant_id: str) -> list[Adjustment]:
    bearers = weights or {unassigned_grant_id: 1}
    amounts = divide(finding.amount_nanousd, bearers)
    counts = _divided_counts(finding, bearers)
    requests = divide(max(finding.requests, 0), bearers)
    return [
        Adjustment(
            grant_id=grant,
            vendor=finding.key.vendor,
            amount_nanousd=amount,
            held_at=datetime.combine(_booked_on(finding), time(tzinfo=UTC)),
            cause=finding.cause.value,
            evidence=_evidence(finding),
            deployment=finding.key.deployment,
            model=finding.key.model,
            tier=finding.key.tier,
            usage=None if counts is None else Usage(**{name: shares.get(grant, 0) for name, shares in counts.items()}),
            requests=requests[grant],
        )
        for grant, amount in sorted(amounts.items())
        if amount
    ]


def _booked_on(finding: Finding) -> date:
    """The day of its charge: the last one it is about, so that it is booked in that month while the month is open."""
    return max(finding.by_day_nanousd or finding.days)


def _divided_counts(finding: Finding, bearers: Mapping[str, int]) -> dict[str, dict[str, int]] | None:
    """Tokens that the vendor counted and nobody metered, by kind and bearer; None where it counted fewer, or none are known."""
    counts: dict[str, Quantity] = {}
    for meter, units in finding.quantity.items():
        if meter in _KINDS:
            counts[_KINDS[meter]] = counts.get(_KINDS[meter], 0) + units
    if not counts or any(units < 0 for units in counts.values()):
        return None
    return {name: divide(int(units), bearers) for name, units in counts.items()}


def _evidence(finding: Finding) -> dict[str, str]:
    return {
        **{name: str(value) for name, value in finding.evidence.items()},
        "finding": f"{finding.cause} {finding.key.text()}",
        "confidence": finding.confidence,
        "first_day": finding.days[0].isoformat(),
        "last_day": finding.days[-1].isoformat(),
    }


def _ceiling_errors(findings: Sequence[Finding]) -> Iterable[CeilingError]:
    sums: dict[tuple[str, str | None, Cause], tuple[int, int]] = {}
    for one in findings:
        if one.cause in ABOVE_CEILING and one.amount_nanousd > 0:
            at = (one.key.vendor, one.key.model, one.cause)
            amount, requests = sums.get(at, (0, 0))
            sums[at] = (amount + one.amount_nanousd, requests + one.requests)
    for (vendor, model, cause), (amount, requests) in sums.items():
        yield CeilingError(vendor=vendor, model=model, cause=cause, amount_nanousd=amount, requests=requests)
