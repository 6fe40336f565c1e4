"""Channels in the settings: what is refused, and where secrets come from."""

from pathlib import Path
from typing import Any

import pytest

from remit.settings import Settings, SettingsError, channel_secret, load_settings

GITHUB = {"name": "gh", "type": "github", "repository": "acme/budgets", "token_env": "GITHUB"}


def loaded(*channels: dict[str, Any]) -> Settings:
    return load_settings(overrides={"channels": list(channels)}, environment={})


@pytest.mark.parametrize(
    ("channel", "sentence"),
    [
        ({**GITHUB, "name": "Git Hub"}, "`name` is not lower-case letters"),
        ({**GITHUB, "repository": "budgets"}, "`repository` is not `owner/name`"),
        ({**GITHUB, "project": "BUD"}, "`project` is not for the type `github`"),
        ({**GITHUB, "signing_secret_env": "S"}, "to be heard it needs `own_account`"),
        ({**GITHUB, "token_env": "ghp_a-token"}, "`token_env` is not the name of an environment variable"),
        ({**GITHUB, "kinds": ["tickets"]}, "`tickets` is no kind of notification"),
        ({**GITHUB, "people": {"a@x.example": "u", "b@x.example": "U"}}, "two people have one name there"),
        ({**GITHUB, "repo": "x"}, "`channels[0].repo` is not known"),
        ({"name": "gh", "type": "github", "repository": "a/b"}, "needs `token_env` or `token_file`"),
        ({"name": "j", "type": "jira", "token_env": "J"}, "the type `jira` needs `base_url`"),
        ({"name": "m", "type": "email", "server": "h:25", "sender": "a@b", "user": "u"}, "a login takes both"),
    ],
)
def test_a_channel_that_cannot_be_used_is_refused(channel: dict[str, Any], sentence: str) -> None:
    """With a sentence that says what is wrong and quotes nothing that may be a secret."""
    with pytest.raises(SettingsError) as refused:
        loaded(channel)
    assert sentence in str(refused.value) and "ghp_a-token" not in str(refused.value)


def test_two_channels_have_two_names() -> None:
    """Deliveries are kept by name."""
    with pytest.raises(SettingsError, match="two channels have one name"):
        loaded(GITHUB, GITHUB)


def test_a_secret_comes_by_file_or_environment(tmp_path: Path) -> None:
    """A file that others may read, a missing variable and a short signing secret are refused."""
    file = tmp_path / "token"
    file.write_text(" a-token\n")
    file.chmod(0o600)
    (channel,) = loaded({**GITHUB, "token_file": str(file), "own_account": "bot", "signing_secret_env": "S"}).channels
    assert channel_secret(channel, "token", {}) == "a-token"
    assert channel_secret(channel, "signing_secret", {"S": "x" * 16}) == "x" * 16
    for environment in ({}, {"S": "x" * 15}, {"S": "x" * 16 + "\nx: y"}):
        with pytest.raises(SettingsError):
            channel_secret(channel, "signing_secret", environment)
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="0600"):
        channel_secret(channel, "token", {})
