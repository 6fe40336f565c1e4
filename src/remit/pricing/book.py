"""The price book: which prices hold for a model at an instant. Overrides win over the catalogue."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from remit.pricing.model import ModelPrices, Unpriced

PRICE_HORIZON = timedelta(hours=24)
"""Ceilings cover price changes that begin within this time, longer than any request runs."""

_MAX_CACHED_ANSWERS = 4096  # model names come from callers; the cache must not grow with their imagination


class PriceBook(Protocol):
    """Where prices are looked up."""

    def lookup(self, vendor: str, model: str, at: datetime) -> ModelPrices | Unpriced:
        """Prices of a request sent at an instant (aware), or why there are none."""
        ...

    def names(self, vendor: str) -> frozenset[str]:
        """Every model name of a vendor the book knows, priced at this instant or not."""
        ...


class Catalogue(Protocol):
    """A source of list prices."""

    def versions(self, vendor: str, model: str) -> tuple[ModelPrices, ...] | Unpriced:
        """All prices of a model over time, in any order; at each instant at most one is in force."""
        ...

    def names(self, vendor: str) -> frozenset[str]:
        """The exact model names of a vendor."""
        ...


class StaticCatalogue:
    """A catalogue made of a list of prices; each is found by any of its names."""

    def __init__(self, prices: Iterable[ModelPrices]) -> None:
        self._versions: dict[tuple[str, str], tuple[ModelPrices, ...]] = {}
        for entry in prices:
            for name in entry.names:
                key = (entry.vendor, name)
                self._versions[key] = (*self._versions.get(key, ()), entry)

    def versions(self, vendor: str, model: str) -> tuple[ModelPrices, ...] | Unpriced:
        return self._versions.get((vendor, model.lower())) or _not_in_book(model)

    def names(self, vendor: str) -> frozenset[str]:
        return frozenset(name for owner, name in self._versions if owner == vendor)


@dataclass(frozen=True, slots=True)
class _Answer:
    """A lookup's result and the half-open stretch of time it stays right for."""

    since: datetime
    until: datetime
    prices: ModelPrices | Unpriced


class LayeredPriceBook:
    """Overrides over a catalogue.

    An override holds from its `effective_from` until a later override of the same model begins; before its first one
    the catalogue holds. An override of one name covers the other names the catalogue gives that same model, because
    a vendor answers `gpt-4o` with the dated id it served; an override of exactly that dated id wins over it.
    """

    def __init__(self, overrides: Sequence[ModelPrices] = (), catalogue: Catalogue | None = None) -> None:
        self._overrides: dict[tuple[str, str], list[ModelPrices]] = {}
        for entry in sorted(overrides, key=lambda entry: entry.effective_from):
            for name in entry.names:
                self._overrides.setdefault((entry.vendor, name), []).append(entry)
        self._catalogue = catalogue
        self._answers: dict[tuple[str, str], _Answer] = {}

    def lookup(self, vendor: str, model: str, at: datetime) -> ModelPrices | Unpriced:
        key = (vendor, model)
        answer = self._answers.get(key)
        if answer is None or not answer.since <= at < answer.until:
            answer = self._answer(vendor, model, at)
            if len(self._answers) >= _MAX_CACHED_ANSWERS:
                self._answers.clear()
            self._answers[key] = answer
        return answer.prices

    def names(self, vendor: str) -> frozenset[str]:
        overridden = frozenset(name for owner, name in self._overrides if owner == vendor)
        return overridden | self._catalogue.names(vendor) if self._catalogue else overridden

    def _answer(self, vendor: str, model: str, at: datetime) -> _Answer:
        assert at.tzinfo is not None
        listed = self._catalogue.versions(vendor, model) if self._catalogue else _not_in_book(model)
        known = () if isinstance(listed, Unpriced) else listed
        versions = _timeline(self._overrides_of(vendor, model, known), known)
        since, until = _stretch(versions, at)
        found = _in_force(versions, at)
        if found is None:
            if versions:
                missing = Unpriced(f"no price of `{model}` is in force at {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
            else:
                missing = listed if isinstance(listed, Unpriced) else _not_in_book(model)
            return _Answer(since, until, missing)
        soon = tuple(
            version.tiers
            for version in versions
            if version is not found
            and version.effective_from <= at + PRICE_HORIZON
            and (version.effective_until is None or version.effective_until > at)
        )
        return _Answer(since, until, replace(found, also_possible=(*found.also_possible, *soon)))

    def _overrides_of(self, vendor: str, model: str, listed: tuple[ModelPrices, ...]) -> list[ModelPrices]:
        exact = self._overrides.get((vendor, model.lower()))
        if exact:
            return exact
        siblings = sorted(_names(listed), key=lambda name: (len(name), name))
        same = [self._overrides[vendor, name] for name in siblings if (vendor, name) in self._overrides]
        return same[0] if same else []  # of several, the shortest name: the undated one


def _not_in_book(model: str) -> Unpriced:
    return Unpriced(f"`{model}` is not in the price book")


def _names(listed: tuple[ModelPrices, ...]) -> frozenset[str]:
    return frozenset(name for version in listed for name in version.names)


def _timeline(overrides: list[ModelPrices], listed: tuple[ModelPrices, ...]) -> list[ModelPrices]:
    """One list in which at each instant at most one price is in force: overrides end each other and the catalogue."""
    timeline: list[ModelPrices] = []
    for index, entry in enumerate(overrides):
        until = overrides[index + 1].effective_from if index + 1 < len(overrides) else None
        if until is not None and until <= entry.effective_from:
            continue  # the same instant stated twice: the later entry of the settings counts
        timeline.append(replace(entry, effective_until=until))
    if not overrides:
        return list(listed)
    first = overrides[0].effective_from
    for version in listed:
        if version.effective_from < first:
            until = version.effective_until
            timeline.append(replace(version, effective_until=first if until is None else min(until, first)))
    return timeline


def _in_force(versions: list[ModelPrices], at: datetime) -> ModelPrices | None:
    return next((version for version in versions if version.in_force(at)), None)


def _stretch(versions: list[ModelPrices], at: datetime) -> tuple[datetime, datetime]:
    """The stretch around an instant in which no version starts, ends, or comes within the horizon."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    edges = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    for version in versions:
        edges += [version.effective_from, version.effective_from - PRICE_HORIZON]
        if version.effective_until is not None:
            edges.append(version.effective_until)
        for second in version.daily_window or ():
            edges += [midnight + timedelta(days=day, seconds=second) for day in (-1, 0, 1)]
    return max(edge for edge in edges if edge <= at), min(edge for edge in edges if edge > at)
