"""Delivers notifications to a webhook."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

_log = structlog.get_logger(__name__)
_SCHEMES = ("http", "https")


class Webhook:
    """Posts each notification as JSON. Only http and https URLs; redirects are not followed.

    A notification whose `webhook` (its grant's own) is on one of `grant_hosts` goes there, any other one to `url`.
    """

    def __init__(self, url: str | None, grant_hosts: Collection[str], timeout_seconds: float) -> None:
        if url is not None and urlsplit(url).scheme not in _SCHEMES:
            raise ValueError("the webhook's address is not an http or https URL")
        self._url = url
        self._grant_hosts = frozenset(grant_hosts)
        self._timeout_seconds = timeout_seconds
        self._opener = urllib.request.build_opener(_NoRedirects)

    def send(self, notification: dict[str, Any]) -> bool:
        """Whether it was accepted, or has nowhere to go; a refusal or failure is logged and answered False."""
        url = self._target(notification.get("webhook"))
        if url is None:
            _log.info("notification_without_receiver", id=notification["id"])
            return True
        body = {name: value for name, value in notification.items() if name != "webhook"}
        headers = {"content-type": "application/json", "user-agent": "remit"}
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme was checked
                url, data=msgspec.json.encode(body), headers=headers, method="POST"
            )
            with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                return 200 <= int(answer.status) < 300
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            _log.warning("notification_not_delivered", id=notification["id"], error=_reason(error))
            return False

    def _target(self, own: str | None) -> str | None:
        if own is not None and own.isascii():
            try:
                parts = urlsplit(own)
            except ValueError:  # an owner wrote it, and `http://[` is no URL
                return self._url
            if parts.scheme in _SCHEMES and parts.hostname in self._grant_hosts:
                return own
        return self._url


def _reason(error: Exception) -> str:
    """Why a delivery failed. An address often is a secret, and what is said about one that is malformed quotes it."""
    return str(error) if isinstance(error, OSError) else type(error).__name__


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
