"""Delivers notifications to a webhook."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from remit.notify.calls import NoRedirects, reason
from remit.notify.signature import HEADER, Signer

_log = structlog.get_logger(__name__)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Webhook:
    """Posts each notification as JSON. Only http and https URLs; redirects are not followed.

    A notification whose `webhook` (its grant's own) is on one of `grant_hosts` goes there, any other one to `url`. A host
    is `host`, on the scheme's own port only, or `host:port`. With a signer each notification is signed.
    """

    def __init__(
        self, url: str | None, grant_hosts: Collection[str], timeout_seconds: float, signer: Signer | None = None
    ) -> None:
        """Raises ValueError for a URL or a host that is none."""
        # The URL may hold a secret, so no message repeats it.
        if url is not None and urlsplit(url).scheme not in _DEFAULT_PORTS:
            raise ValueError("the webhook is not an http or https URL")
        self._url = url
        self._grant_hosts = frozenset(_host_and_port(text) for text in grant_hosts)
        self._timeout_seconds = timeout_seconds
        self._signer = signer
        self._opener = urllib.request.build_opener(NoRedirects)

    def send(self, notification: dict[str, Any]) -> bool:
        """Whether it was accepted, or has nowhere to go; a refusal or failure is logged and answered False."""
        url = self._target(notification.get("webhook"))
        if url is None:
            _log.info("notification_without_receiver", id=notification["id"])
            return True
        body = msgspec.json.encode({name: value for name, value in notification.items() if name != "webhook"})
        headers = {"content-type": "application/json", "user-agent": "remit"}
        if self._signer is not None:
            headers[HEADER] = self._signer.header(body)
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme was checked
                url, data=body, headers=headers, method="POST"
            )
            with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                return 200 <= int(answer.status) < 300
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            _log.warning("notification_not_delivered", id=notification["id"], error=reason(error))
            return False

    def _target(self, own: str | None) -> str | None:
        return own if own is not None and self._is_listed(own) else self._url

    def _is_listed(self, url: str) -> bool:
        """Whether the operator allows to call this URL, which an owner wrote."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # `http://[` is no URL, and 99999 is no port
            return False
        default = _DEFAULT_PORTS.get(parts.scheme)
        if default is None or not url.isascii():
            return False
        if port is None or port == default:
            return (host, None) in self._grant_hosts or (host, default) in self._grant_hosts
        return (host, port) in self._grant_hosts


def _host_and_port(text: str) -> tuple[str | None, int | None]:
    """`host`, `host:port`, `[v6]` or `[v6]:port`, without regard to case. Raises ValueError for anything else."""
    parts = urlsplit(f"//{text}")
    if parts.hostname is None or parts.netloc != text or "@" in text or text.endswith(":"):
        raise ValueError(f"`{text}` is not `host` or `host:port`")
    return parts.hostname, parts.port
