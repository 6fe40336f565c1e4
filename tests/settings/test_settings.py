"""Settings: their order, their strictness, their secrets."""

from pathlib import Path

import pytest

from remit.gateway.deployments import open_deployments
from remit.settings import (
    NotifySettings,
    SettingsError,
    VendorSettings,
    decode_settings,
    encode_settings,
    load_settings,
    parse_listen,
    statement_key,
    vendor_key,
    webhook_secret,
)


def test_without_anything_the_defaults_work_on_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file and no environment give an embedded database and OpenAI as the vendor."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings(environment={})
    assert settings.database_url is None
    assert settings.vendors["openai"].base_url == "https://api.openai.com"


def test_environment_beats_file_and_command_line_beats_both(tmp_path: Path) -> None:
    """Each layer overrides the one before."""
    file = tmp_path / "remit.toml"
    file.write_text('[gateway]\nlisten = "127.0.0.1:1"\nworkers = 2\n')
    environment = {"REMIT_CONFIG": str(file), "REMIT_LISTEN": "127.0.0.1:2"}
    assert load_settings(environment=environment).gateway.listen == "127.0.0.1:2"
    overridden = load_settings(overrides={"gateway": {"listen": "127.0.0.1:3"}}, environment=environment)
    assert (overridden.gateway.listen, overridden.gateway.workers) == ("127.0.0.1:3", 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gateway]\nworkerz = 2\n", "remit.toml`: `gateway.workerz` is not known; did you mean `workers`"),
        ("[vendors.a]\nbase_ulr = 'x'\n", "`vendors.a.base_ulr` is not known; did you mean `base_url`"),
        ("[vendors.a]\nbase_url = 'http://a'\nbilling = { accont_id = '1' }\n", "did you mean `account_id`"),
        ("[vendors.a]\nbase_url = 'http://a'\nbilling = { account_id = ' ' }\n", "`billing.account_id` of a vendor"),
        ("[gateway]\nworkers = 0\n", "`gateway.workers`: expected `int` >= 1"),
        ("[gateway]\nmax_connections = 0\n", "`gateway.max_connections`"),
        ("[gateway]\ndrain_seconds = -1\n", "`gateway.drain_seconds`"),
        ("sweep_seconds = 0\n", "`sweep_seconds`"),
        ("sweep_seconds = nan\n", "`sweep_seconds`"),
        ("[notify]\ntimeout_seconds = inf\n", "`notify.timeout_seconds`"),
        ("[gateway]\nworkers = 'many'\n", "workers"),
        ("[gateway]\nrequest_seconds = 60\nhold_seconds = 60\n", "hold_seconds"),
        ("clock_at = 2026-01-01T00:00:00\n", "time zone"),
        ("not toml at all", "cannot read"),
        ("[gateway]\ntls_key_file = 'tls.key'\n", "tls_certificate_file"),
        ("[gateway]\ntls_client_ca_file = 'callers.crt'\n", "tls_client_ca_file.*tls_certificate_file"),
        ("[gateway]\npublic_url = 'https://llm.acme.example/v1'\n", "gateway.public_url"),
        ("[gateway]\npublic_url = 'llm.acme.example'\n", "gateway.public_url"),
        ("[gateway.bearer]\nmax_usd = '1,000'\n", "gateway.bearer.max_usd"),
        ("[gateway.bearer]\nmax_usd = 5\n", "gateway.bearer.max_usd"),
        ("[gateway.bearer]\nmax_ttl = '1 day'\n", "is not a duration"),
        ("[gateway.bearer]\nmax_ttl = '0s'\n", "is not a duration"),
        ("[gateway.bearer]\nmax_tll = '1d'\n", "did you mean `max_ttl`"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, says: str) -> None:
    """Whoever wrote the file learns where to look."""
    file = tmp_path / "remit.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=says):
        load_settings(file, environment={})


def test_settings_can_be_handed_to_a_process(tmp_path: Path) -> None:
    """One line of JSON holds all of them, paths and instants included."""
    file = tmp_path / "remit.toml"
    file.write_text('clock_at = 2027-01-01T00:00:00Z\n[vendors.v]\nbase_url = "http://v"\nca_file = "/etc/ca.pem"\n')
    settings = load_settings(file, environment={})
    line = encode_settings(settings)
    assert b"\n" not in line and decode_settings(line) == settings


def test_a_missing_file_is_an_error_only_if_it_was_asked_for(tmp_path: Path) -> None:
    """A mistyped name must not silently mean the defaults."""
    with pytest.raises(SettingsError, match=r"cannot read `.*absent.toml`: no such file or directory$"):
        load_settings(tmp_path / "absent.toml", environment={})


def test_a_vendor_of_the_command_line_stands_instead_of_the_files(tmp_path: Path) -> None:
    """Neither other vendors nor the key of one with the same name are left over."""
    file = tmp_path / "remit.toml"
    file.write_text(
        "[vendors.openai]\nbase_url = 'https://a'\napi_key_env = 'K'\n[vendors.other]\nbase_url = 'https://b'\n"
    )
    settings = load_settings(file, {"vendors": {"openai": {"base_url": "http://c"}}}, environment={})
    assert settings.vendors == {"openai": VendorSettings(base_url="http://c")}


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    """The file is named for what stands in it only."""
    file = tmp_path / "remit.toml"
    file.write_text("[gateway]\nworkers = 2\n")
    with pytest.raises(SettingsError, match=r"^settings: `gateway\.workers`"):
        load_settings(file, {"gateway": {"workers": 0}}, environment={})


def test_a_vendors_key_comes_from_where_the_settings_say(tmp_path: Path) -> None:
    """From the environment or a file; a missing one is an error that names the variable and nothing secret."""
    by_environment = VendorSettings(base_url="https://vendor.example", api_key_env="VENDOR_KEY")
    assert vendor_key("v", by_environment, {"VENDOR_KEY": "secret"}) == "secret"
    with pytest.raises(SettingsError, match="VENDOR_KEY"):
        vendor_key("v", by_environment, {})
    file = tmp_path / "key"
    file.write_text("secret\n")
    assert vendor_key("v", VendorSettings(base_url="https://vendor.example", api_key_file=file), {}) == "secret"
    assert vendor_key("v", VendorSettings(base_url="https://vendor.example"), {}) is None


def test_a_webhooks_secret_comes_from_where_the_settings_say(tmp_path: Path) -> None:
    """From the environment or a file that only its owner may read; no message holds it."""
    secret, file = "sixteen bytes and more", tmp_path / "secret"
    by_environment = NotifySettings(webhook_secret_env="HOOK_SECRET")
    assert webhook_secret(by_environment, {"HOOK_SECRET": secret}) == secret.encode()
    assert webhook_secret(NotifySettings(), {"HOOK_SECRET": secret}) is None
    file.write_text(f"{secret}\n")
    by_file = NotifySettings(webhook_secret_file=file, webhook_secret_env="HOOK_SECRET")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="mode has to be 0600"):
        webhook_secret(by_file, {})
    file.chmod(0o600)
    assert webhook_secret(by_file, {}) == secret.encode()
    for environment in ({}, {"HOOK_SECRET": ""}, {"HOOK_SECRET": "short"}):
        with pytest.raises(SettingsError, match="HOOK_SECRET") as raised:
            webhook_secret(by_environment, environment)
        assert "short" not in str(raised.value)
    file.unlink()
    with pytest.raises(SettingsError, match="webhook_secret_file"):
        webhook_secret(by_file, {})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[notify]\nwebhook_url = 'hunter2'\n", "webhook_url"),
        ("[notify]\nwebhook_url = 'http://[hunter2'\n", "webhook_url"),
        ("[vendors.v]\nbase_url = 'https://v.example'\napi_key_env = 'sk-hunter2'\n", "api_key_env"),
        ("[vendors.v]\nbase_url = 'https://u:hunter2/v1'\n", "base_url"),
        ("[vendors.v]\nbase_url = 'https://u:hunter2@v.example/v1'\n", "base_url"),
        ("[vendors.v]\nbase_url = 'https://v.example/v1?key=hunter2'\n", "base_url"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, text: str, says: str) -> None:
    """The message names the key, and quotes nothing that may be a secret."""
    file = tmp_path / "remit.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        open_deployments(load_settings(file, environment={}), {})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), (":9", ("127.0.0.1", 9))]
)
def test_listen_addresses(text: str, expected: tuple[str, int]) -> None:
    """Host and port, also for IPv6."""
    assert parse_listen(text) == expected


@pytest.mark.parametrize("text", ["", "80", "host", "host:port", "host:99999"])
def test_other_listen_addresses_are_refused(text: str) -> None:
    """Anything without a port in range."""
    with pytest.raises(SettingsError):
        parse_listen(text)


def test_a_deployment_says_what_its_vendor_calls_it(tmp_path: Path) -> None:
    """Account, project and key id as statements write them; an empty one, or one with blanks, is a mistake."""
    file = tmp_path / "remit.toml"
    text = (
        '[vendors.openai]\nbase_url = "https://api.openai.com"\nvendor_account = "org-1"\nvendor_project = "proj_1"\n'
    )
    file.write_text(f'{text}vendor_key_id = "key_1"\n')
    vendor = load_settings(file, environment={}).vendors["openai"]
    assert (vendor.vendor_account, vendor.vendor_project, vendor.vendor_key_id) == ("org-1", "proj_1", "key_1")
    for wrong in ("", "two words"):
        file.write_text(f'{text}vendor_key_id = "{wrong}"\n')
        with pytest.raises(SettingsError, match=r"vendor_key_id|vendors"):
            load_settings(file, environment={})


def test_reports_are_asked_for_with_a_key_of_their_own(tmp_path: Path) -> None:
    """The admin key of a vendor comes by file or environment, to an address that is safe; other vendors have none."""
    file = tmp_path / "remit.toml"
    file.write_text('[reconcile.vendors.openai]\nkey_env = "ADMIN"\naccount = "org-1"\n')
    terms = load_settings(file, environment={}).reconcile.vendors["openai"]
    assert statement_key("openai", terms, {"ADMIN": "sk-admin-0123456789"}) == "sk-admin-0123456789"
    for environment in ({}, {"ADMIN": "short"}, {"ADMIN": "sk-admin-\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"}):
        with pytest.raises(SettingsError, match="admin key of `openai`"):
            statement_key("openai", terms, environment)
    for text, says in (
        ('[reconcile.vendors.openai]\nbase_url = "http://api.acme.example"', "not https"),
        ('[reconcile.vendors.openai]\nkey = "x"', "did you mean `key_env`|known are"),
        ('[reconcile.vendors.mistral]\nkey_env = "X"', "vendors"),
    ):
        file.write_text(text)
        with pytest.raises(SettingsError, match=says):
            load_settings(file, environment={})
