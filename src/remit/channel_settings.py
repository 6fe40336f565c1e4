"""Settings of channels: one struct for all types, and which keys each type needs and takes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

ChannelType = Literal["slack", "github", "jira", "email", "events", "pagerduty", "opsgenie"]
KINDS = frozenset({
    "threshold", "cap_reached", "overdraft", "overage", "forecast_exhaustion", "class_mismatch", "suspense",
    "ticket_opened", "ticket_escalated", "ticket_commented", "ticket_decided", "ticket_expired",
    "renewal_due", "grace", "lapsed", "runaway", "debt", "ownerless", "break_glass", "finding",
})  # fmt: skip
Audience = Literal["owner", "on_call", "security", "named"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
_PROJECT = re.compile(r"[A-Z][A-Z0-9_]*")
_COMMON = frozenset({
    "name", "type", "kinds", "audiences", "people", "base_url", "ca_file", "timeout_seconds", "max_attempts",
})  # fmt: skip
_TOKEN, _SIGNING = frozenset({"token_env", "token_file"}), frozenset({"signing_secret_env", "signing_secret_file"})
# What each type takes besides the common keys, and of which it needs one each.
_TAKES: Mapping[ChannelType, frozenset[str]] = {
    "slack": _TOKEN | _SIGNING | {"channel", "workspace"},
    "github": _TOKEN | _SIGNING | {"repository", "own_account"},
    "jira": _TOKEN | _SIGNING | {"user", "project", "issue_type", "approved_status", "declined_status", "own_account"},
    "email": _TOKEN | {"server", "tls", "user", "sender", "to"},
    "events": _SIGNING,
    "pagerduty": _TOKEN,
    "opsgenie": _TOKEN,
}
_NEEDS: Mapping[ChannelType, tuple[str, ...]] = {
    "slack": (),
    "github": ("repository",),
    "jira": ("base_url", "user", "project"),
    "email": ("server", "sender"),
    "events": ("base_url",),
    "pagerduty": (),
    "opsgenie": (),
}
# To hear a channel takes its signing secret, and this: whose words count.
_HEARING: Mapping[ChannelType, str] = {"slack": "workspace", "github": "own_account", "jira": "own_account"}
_ADDRESSES: Mapping[ChannelType, str] = {
    "slack": "https://slack.com/api",
    "github": "https://api.github.com",
    "pagerduty": "https://events.pagerduty.com",
    "opsgenie": "https://api.opsgenie.com",
}


class ChannelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to people. Secrets are named, by environment variable or file, and never stand here.

    Raises ValueError for what cannot be used; no message quotes a value that may be a secret in the wrong place.
    """

    name: str
    type: ChannelType
    kinds: tuple[str, ...] = ()
    audiences: tuple[Audience, ...] = ()
    people: dict[str, str] = {}
    base_url: str | None = None
    token_env: str | None = None
    token_file: Path | None = None
    signing_secret_env: str | None = None
    signing_secret_file: Path | None = None
    channel: str | None = None
    workspace: str | None = None
    repository: str | None = None
    project: str | None = None
    issue_type: str = "Task"
    approved_status: str = "Approved"
    declined_status: str = "Declined"
    own_account: str | None = None
    server: str | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    sender: str | None = None
    to: tuple[str, ...] = ()
    ca_file: Path | None = None
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60)] = 10.0
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 12

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("`name` is not lower-case letters, digits, `_` and `-`")
        where = f"channel `{self.name}`"
        for key in self.__struct_fields__:
            given = getattr(self, key) != _default(key)
            if given and key not in _COMMON and key not in _TAKES[self.type]:
                raise ValueError(f"{where}: `{key}` is not for the type `{self.type}`")
        for key in _NEEDS[self.type]:
            if not getattr(self, key):
                raise ValueError(f"{where}: the type `{self.type}` needs `{key}`")
        if self.type not in ("email", "events") and not (self.token_env or self.token_file):
            raise ValueError(f"{where}: the type `{self.type}` needs `token_env` or `token_file`")
        unknown = sorted(set(self.kinds) - KINDS)
        if unknown:
            raise ValueError(f"{where}: `{unknown[0]}` is no kind of notification")
        self._check_forms(where)

    def _check_forms(self, where: str) -> None:
        for key in ("token_env", "signing_secret_env"):
            if (value := getattr(self, key)) is not None and not _VARIABLE.fullmatch(value):
                raise ValueError(f"{where}: `{key}` is not the name of an environment variable")
        if self.repository is not None and not _REPOSITORY.fullmatch(self.repository):
            raise ValueError(f"{where}: `repository` is not `owner/name`")
        if self.project is not None and not _PROJECT.fullmatch(self.project):
            raise ValueError(f"{where}: `project` is not the key of a project")
        if self.type == "email" and (self.user is None) != (self.token_env is None and self.token_file is None):
            raise ValueError(f"{where}: a login takes both `user` and `token_env` or `token_file`")
        hearing = _HEARING.get(self.type)
        if hearing and self.is_heard and not getattr(self, hearing):
            raise ValueError(f"{where}: to be heard it needs `{hearing}`")
        there = [name.casefold() for name in self.people.values()]
        if len(set(there)) != len(there):
            raise ValueError(f"{where}: in `people` two people have one name there")

    @property
    def is_heard(self) -> bool:
        """Whether decisions come in through it."""
        return bool(self.signing_secret_env or self.signing_secret_file)

    @property
    def address(self) -> str:
        """Where its API is."""
        return self.base_url or _ADDRESSES[self.type]


def _default(key: str) -> object:
    field = next(one for one in msgspec.structs.fields(ChannelSettings) if one.name == key)
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return {} if field.default_factory is not msgspec.NODEFAULT else None
