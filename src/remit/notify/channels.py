"""From settings to channels."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from remit.channel_settings import ChannelSettings
from remit.kernel.clock import Clock
from remit.notify.calls import Endpoint, basic
from remit.notify.email import Mail
from remit.notify.events import Events
from remit.notify.github import GitHub, GitHubHook
from remit.notify.jira import Jira, JiraHook, Statuses
from remit.notify.opsgenie import Opsgenie
from remit.notify.pagerduty import PagerDuty
from remit.notify.ports import Channel, Hook, People
from remit.notify.signature import Signer
from remit.notify.slack import Slack, SlackHook
from remit.settings import SettingsError, channel_secret, parse_listen

_GITHUB_HEADERS = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenChannel:
    """A channel with what it is to have, and what hears it, where it is heard."""

    name: str
    type: str
    kinds: tuple[str, ...]
    audiences: tuple[str, ...]
    max_attempts: int
    channel: Channel
    hook: Hook | None = None


def open_channel(settings: ChannelSettings, clock: Clock, environment: Mapping[str, str] = os.environ) -> OpenChannel:
    """The channel of a table of the settings; asks nobody yet. Raises SettingsError."""
    token = channel_secret(settings, "token", environment)
    secret = channel_secret(settings, "signing_secret", environment)
    try:
        channel, hook = _made(settings, clock, token or "", None if secret is None else secret.encode())
    except ValueError as error:
        raise SettingsError(f"channel `{settings.name}`: {error}") from None
    return OpenChannel(
        name=settings.name,
        type=settings.type,
        kinds=settings.kinds,
        audiences=settings.audiences,
        max_attempts=settings.max_attempts,
        channel=channel,
        hook=hook,
    )


def _made(s: ChannelSettings, clock: Clock, token: str, secret: bytes | None) -> tuple[Channel, Hook | None]:
    people = People(s.people)
    if s.type == "email":
        return _mail(s, token, people), None
    endpoint = _endpoint(s, clock, token)
    if s.type == "slack":
        slack = Slack(endpoint, people, s.channel)
        return slack, None if secret is None else SlackHook(s.name, slack, s.workspace or "", secret)
    if s.type == "github":
        github = GitHub(endpoint, people, s.repository or "")
        return github, None if secret is None else GitHubHook(s.name, github, s.own_account or "", secret)
    if s.type == "jira":
        jira = Jira(endpoint, people, s.project or "", s.issue_type, Statuses(s.approved_status, s.declined_status))
        return jira, None if secret is None else JiraHook(s.name, jira, s.own_account or "", secret)
    if s.type == "events":
        return Events(endpoint, None if secret is None else Signer(secret, clock), f"remit/{s.name}"), None
    if s.type == "pagerduty":
        return PagerDuty(endpoint, token), None
    return Opsgenie(endpoint, people), None


def _endpoint(s: ChannelSettings, clock: Clock, token: str) -> Endpoint:
    headers: dict[str, str] = {}
    if s.type == "slack":
        headers = {"authorization": f"Bearer {token}"}
    elif s.type == "github":
        headers = {"authorization": f"Bearer {token}", **_GITHUB_HEADERS}
    elif s.type == "jira":
        headers = {"authorization": basic(s.user or "", token)}
    elif s.type == "opsgenie":
        headers = {"authorization": f"GenieKey {token}"}
    secrets = tuple(text for text in (token, headers.get("authorization", "")) if text)
    return Endpoint(
        base_url=s.address,
        clock=clock,
        headers=headers,
        secrets=secrets,
        timeout_seconds=s.timeout_seconds,
        ca_file=s.ca_file,
    )


def _mail(s: ChannelSettings, token: str, people: People) -> Mail:
    host, port = parse_listen(s.server or "")
    return Mail(
        host=host,
        port=port,
        tls=s.tls,
        user=s.user,
        password=token or None,
        sender=s.sender or "",
        to=s.to,
        people=people,
        timeout_seconds=s.timeout_seconds,
        ca_file=s.ca_file,
    )
