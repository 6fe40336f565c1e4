"""The page about settings lists what the code reads, with the defaults it has."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remit import settings
from remit.channel_settings import ChannelSettings
from remit.pricing import overrides
from remit.settings import load_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"
TABLES = {
    "Top level": settings.Settings,
    "`[gateway]`": settings.GatewaySettings,
    "`[gateway.bearer]`": settings.BearerSettings,
    "`[api]`": settings.ApiSettings,
    "`[notify]`": settings.NotifySettings,
    "`[sign_in]`": settings.SignInSettings,
    "`[[sign_in.roles]]`": settings.SignInRole,
    "`[breaker]`": settings.BreakerSettings,
    "`[findings]`": settings.FindingsSettings,
    "`[ledger]`": settings.LedgerSettings,
    "`[archive]`": settings.ArchiveSettings,
    "`[archive.retention]`": settings.RetentionSettings,
    "`[vendors.NAME]`": settings.VendorSettings,
    "`[vendors.NAME.billing]`": settings.VendorBilling,
    "`[reconcile]`": settings.ReconcileSettings,
    "`[reconcile.tolerance.NAME]`": settings.ToleranceSettings,
    "`[reconcile.vendors.NAME]`": settings.StatementVendorSettings,
    "`[[workloads]]`": settings.WorkloadSettings,
    "`[renewals]`": settings.RenewalSettings,
    "`[[channels]]`": ChannelSettings,
    "`[telemetry]`": settings.TelemetrySettings,
    "`[metrics]`": settings.MetricsSettings,
    "`[[sinks]]`": settings.SinkSettings,
    "`[[exports]]`": settings.ExportSettings,
}


def section(title: str) -> str:
    parts = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[title]


def written(value: Any) -> str:
    """A default as the page writes it."""
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{msgspec.json.encode(value).decode().replace(',', ', ')}`"


@pytest.mark.parametrize(("title", "kind"), TABLES.items(), ids=[kind.__name__ for kind in TABLES.values()])
def test_every_key_stands_on_the_page_with_its_default(title: str, kind: type[msgspec.Struct]) -> None:
    """The rows of a section are the keys of its table, in order, with the defaults of the code."""
    rows = re.findall(r"^\| `(\w+)` \|(?: (.+?))? \| .+ \|$", section(title), re.MULTILINE)
    fields = msgspec.structs.fields(kind)
    assert [name for name, _ in rows] == [field.name for field in fields]
    for (name, default), field in zip(rows, fields, strict=True):
        if field.default_factory is not msgspec.NODEFAULT or isinstance(field.default, msgspec.Struct):
            continue  # tables with sections of their own, and `vendors`
        if field.default == () and default == "none":
            continue
        assert default == written(field.default), name


def test_every_variable_stands_on_the_page() -> None:
    """The page lists each environment variable that is read, with the key it sets."""
    rows = dict(re.findall(r"^\| `(REMIT_\w+)` \| `?([\w.]+)`?", section("Environment"), re.MULTILINE))
    del rows["REMIT_CONFIG"]
    assert rows == {variable: ".".join(keys) for variable, keys in settings._ENVIRONMENT.items()}


def test_every_key_of_a_price_stands_on_the_page() -> None:
    """The page lists each key of a price override."""
    listed = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (.+?) \|", section("`[[prices]]`"), re.MULTILINE))))
    assert listed == overrides._KEYS


def test_the_example_can_be_read(tmp_path: Path) -> None:
    """The example at the top of the page is a settings file, and its price can be parsed."""
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    (tmp_path / "remit.toml").write_text(example[1])
    read = load_settings(tmp_path / "remit.toml", environment={})
    assert read.gateway.workers == 4
    assert overrides.parse_overrides(list(read.prices))
