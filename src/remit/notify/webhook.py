"""Delivers notifications to a webhook."""

import http.client
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

_log = structlog.get_logger(__name__)


class Webhook:
    """Posts each notification as JSON. Only http and https URLs; redirects are not followed."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(f"`{url}` is not an http or https URL")
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._opener = urllib.request.build_opener(_NoRedirects)

    def send(self, notification: dict[str, Any]) -> bool:
        """Whether it was accepted; a refusal or failure is logged and answered False."""
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            self._url,
            data=msgspec.json.encode(notification),
            headers={"content-type": "application/json", "user-agent": "remit"},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=self._timeout_seconds) as answer:
                return 200 <= int(answer.status) < 300
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            _log.warning("notification_not_delivered", id=notification["id"], error=str(error))
            return False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None
