"""Negotiated or missing prices, as operators write them in the settings.

One table per model and start::

    vendor = "openai"
    model = "gpt-4o"
    aliases = ["gpt-4o-2024-08-06"]        # further ids the vendor answers with
    from = 2026-10-01T00:00:00Z            # optional; without it, since ever
    input = "2.25"                         # US dollars per million tokens, as text
    output = "9.00"
    cache_read = "1.10"                    # cache_write, input_audio, output_audio; request is dollars per request
    context_tokens = 128000
    max_output_tokens = 16384
    max_image_tokens = 1445                # most input tokens one image can become
    tiers = [{ above_input_tokens = 200000, input = "4.50", output = "13.50" }]
    service_tiers = { priority = { input = "4.00", output = "16.00" } }
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from remit.kernel.money import UNITS_PER_PRICE, InvalidAmountError, parse_usd
from remit.pricing.model import BEGINNING, DEFAULT_TIER, Band, ModelPrices, Rates, TierRates, canonical_tier

_PRICES = frozenset({"input", "output", "cache_read", "cache_write", "input_audio", "output_audio", "request"})
_COUNTS = frozenset({"context_tokens", "max_output_tokens", "max_image_tokens"})
_KEYS = _PRICES | _COUNTS | {"vendor", "model", "aliases", "from", "tiers", "service_tiers"}

_DIGEST_DIGITS = 12


class InvalidOverrideError(ValueError):
    """A price override cannot be read; the message names the entry and the key."""


def parse_overrides(entries: Sequence[Mapping[str, Any]]) -> list[ModelPrices]:
    """Prices of settings entries; raises InvalidOverrideError at the first mistake.

    A band (`tiers`) or a service tier states only what differs from its base. A price of "0" is legal here and
    nowhere else: an operator says so on purpose.
    """
    parsed: list[ModelPrices] = []
    seen: set[tuple[str, str, datetime]] = set()
    for index, entry in enumerate(entries):
        prices = _parse_entry(entry, f"price override {index + 1}")
        for name in sorted(prices.names):
            key = (prices.vendor, name, prices.effective_from)
            if key in seen:
                raise InvalidOverrideError(
                    f"price override {index + 1}: `{name}` of `{prices.vendor}` from "
                    f"{prices.effective_from.isoformat()} is stated twice"
                )
            seen.add(key)
        parsed.append(prices)
    return parsed


def _parse_entry(entry: Mapping[str, Any], where: str) -> ModelPrices:
    _only(entry, _KEYS, where)
    vendor, model = _text(entry, "vendor", where), _text(entry, "model", where)
    where = f"{where} (`{vendor}` `{model}`)"
    aliases = entry.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) and alias for alias in aliases):
        raise InvalidOverrideError(f"{where}: `aliases` is a list of model ids")
    base = _tier_rates(entry, where)
    tiers = {DEFAULT_TIER: base}
    service_tiers = entry.get("service_tiers", {})
    if not isinstance(service_tiers, Mapping):
        raise InvalidOverrideError(f"{where}: `service_tiers` is a table of tiers")
    for name, stated in service_tiers.items():
        inside = f"{where}, service tier `{name}`"
        if not isinstance(stated, Mapping):
            raise InvalidOverrideError(f"{inside}: a table of prices is needed")
        _only(stated, _PRICES | {"tiers"}, inside)
        inherited = {key: entry[key] for key in (*_PRICES, "tiers") if key in entry}
        tiers[canonical_tier(name)] = _tier_rates({**inherited, **stated}, inside)
    prices = ModelPrices(
        vendor=vendor,
        model=model,
        names=frozenset(name.lower() for name in (model, *aliases)),
        tiers=tiers,
        source="override",
        effective_from=_instant(entry.get("from"), where),
        context_tokens=_count(entry, "context_tokens", where),
        max_output_tokens=_count(entry, "max_output_tokens", where),
        max_image_tokens=_count(entry, "max_image_tokens", where),
    )
    return replace(prices, source=f"override:{_digest(prices)}")


def _digest(prices: ModelPrices) -> str:
    """Names an override by what it comes to, so that an entry says which one it was priced by after the settings changed.

    However it is written (`2.5` or `2.50`, keys in any order), the same prices have the same name.
    """
    content = msgspec.json.encode(
        {field.name: getattr(prices, field.name) for field in fields(prices) if field.name != "source"}, order="sorted"
    )
    return hashlib.sha256(content).hexdigest()[:_DIGEST_DIGITS]


def _tier_rates(stated: Mapping[str, Any], where: str) -> TierRates:
    base = _rates(stated, where)
    bands: list[Band] = []
    listed = stated.get("tiers", [])
    if not isinstance(listed, list) or not all(isinstance(item, Mapping) for item in listed):
        raise InvalidOverrideError(f"{where}: `tiers` is a list of tables")
    for item in listed:
        _only(item, _PRICES | {"above_input_tokens"}, f"{where}, tier")
        above = _count(item, "above_input_tokens", f"{where}, tier")
        if above is None:
            raise InvalidOverrideError(f"{where}, tier: `above_input_tokens` is missing")
        bands.append(Band(above, _rates({**stated, **item}, f"{where}, tier above {above}")))
    bands.sort(key=lambda band: band.above_input_tokens)
    if len({band.above_input_tokens for band in bands}) != len(bands):
        raise InvalidOverrideError(f"{where}: two `tiers` begin at the same number of tokens")
    return TierRates(base, tuple(bands))


def _rates(stated: Mapping[str, Any], where: str) -> Rates:
    prices = {kind: _price(stated[kind], kind, where) for kind in sorted(_PRICES) if kind in stated}
    for kind in ("input", "output"):
        if kind not in prices:
            raise InvalidOverrideError(f"{where}: `{kind}` is missing")
    return Rates(**prices)


def _price(value: Any, kind: str, where: str) -> int:
    """Nano-USD per million units; `request` is written in dollars per single request."""
    if not isinstance(value, str):
        raise InvalidOverrideError(f'{where}: `{kind}` is an amount of US dollars as text, such as "2.50"')
    try:
        amount = parse_usd(value)
    except InvalidAmountError as error:
        raise InvalidOverrideError(f"{where}: `{kind}`: {error}") from None
    return amount * UNITS_PER_PRICE if kind == "request" else amount


def _count(stated: Mapping[str, Any], key: str, where: str) -> int | None:
    value = stated.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise InvalidOverrideError(f"{where}: `{key}` is a number of tokens")
    return value


def _instant(value: Any, where: str) -> datetime:
    if value is None:
        return BEGINNING
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidOverrideError(f"{where}: `from` is not an RFC 3339 instant") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidOverrideError(f"{where}: `from` is an instant with an offset, such as 2026-10-01T00:00:00Z")
    return value.astimezone(UTC)


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidOverrideError(f"{where}: `{key}` is missing")
    return value


def _only(stated: Mapping[str, Any], allowed: frozenset[str], where: str) -> None:
    unknown = sorted(set(stated) - allowed)
    if unknown:
        raise InvalidOverrideError(f"{where}: unknown key `{unknown[0]}`")
