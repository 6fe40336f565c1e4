"""Settings of what goes to other systems: what cannot stand together is refused, and no message quotes a secret."""

from typing import Any

import pytest

from remit.settings import ExportSettings, SettingsError, SinkSettings, TelemetrySettings

SINK: dict[str, Any] = {"name": "a", "kind": "lago", "url": "https://lago.example/x"}
EXPORT: dict[str, Any] = {"name": "a", "what": "report", "when": "daily", "path": "{day}.csv", "by": ("team",)}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": "A b"}, "lower-case"),
        ({"url": "https://user:pass@lago.example/x"}, "without a login"),
        ({"secret_env": "SECRET"}, "only `cloudevents`"),
        ({"batch": 101}, "100 events"),
        ({"subject": "team"}, "tag:NAME"),
        ({"since": "2026-01-01"}, "offset"),
        ({"since": "yesterday"}, "offset"),
        ({"token_env": "rp_secret-in-the-wrong-place"}, "environment variable"),
        ({"subject_else": ""}, "empty"),
    ],
)
def test_a_sink_that_cannot_be_is_refused(wrong: dict[str, Any], why: str) -> None:
    """Each with why, and without what was written."""
    SinkSettings(**SINK)
    with pytest.raises(SettingsError, match=why) as refused:
        SinkSettings(**{**SINK, **wrong})
    assert "secret-in-the-wrong-place" not in str(refused.value) and "pass@" not in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"path": "report.csv"}, "needs `{day}`"),
        ({"path": "{month}.csv"}, "needs `{day}`"),
        ({"path": "{day"}, "brace"),
        ({"path": "{day!r}.csv"}, "braces"),
        ({"path": "{secrets}-{day}.csv"}, "braces"),
        ({"path": "{day}.txt"}, "end in"),
        ({"by": ()}, "needs it"),
        ({"what": "focus", "by": ()}, "monthly"),
    ],
)
def test_an_export_that_cannot_be_is_refused(wrong: dict[str, Any], why: str) -> None:
    """Each with why; a path without its period would lose every file but the last."""
    ExportSettings(**EXPORT)
    with pytest.raises(SettingsError, match=why):
        ExportSettings(**{**EXPORT, **wrong})


def test_a_collector_is_an_address() -> None:
    """Anything else is refused, and not quoted."""
    with pytest.raises(SettingsError) as refused:
        TelemetrySettings(otlp_endpoint="grpc://key@collector")
    assert "key@" not in str(refused.value)
