"""Asks a vendor for its reports: pages followed to the end, waits as it says, its bytes as they came."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from remit.notify.calls import Endpoint, Reply
from remit.notify.ports import Dead, TryAgain
from remit.pulling.reports import REPORTS, Report
from remit.reconcile.statements.raw import Raw, pack

BASE_URLS: Final[Mapping[str, str]] = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "openrouter": "https://openrouter.ai",
}
MAX_PAGES: Final = 5_000
MAX_DAYS: Final = 400
MAX_ATTEMPTS: Final = 6
MAX_WAIT_SECONDS: Final = 120
_DAY: Final = timedelta(days=1)
# What an account or a key that has no such report is answered.
_NOT_THERE: Final = frozenset({400, 403, 404})


GROUPED_BY: Final[Mapping[str, tuple[str, ...]]] = {"anthropic": ("api_key_id", "workspace_id")}
"""Fields by which every report of a vendor keeps results apart here, so that null in one of them is somebody."""


class PullError(Exception):
    """The vendor did not give a report whole; the message says which, and why."""


class Puller:
    """Asks one vendor. `account` is what its statements are kept under. `wait` takes the seconds until a page is asked for again."""

    def __init__(
        self,
        vendor: str,
        endpoint: Endpoint,
        key: str,
        account: str | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.account = account
        self.skipped: list[str] = []
        self._vendor = vendor
        self._endpoint = endpoint
        self._key = key
        self._wait = wait

    def pull(self, since: datetime, until: datetime) -> list[tuple[str, Raw]]:
        """Each report over these whole UTC days, by its source, as the bytes of its pages. Raises PullError."""
        for one in (since, until):
            if one.astimezone(UTC).time() != datetime.min.time():
                raise PullError("reports are by UTC day: a period begins and ends at midnight UTC")
        if not timedelta(0) < until - since <= MAX_DAYS * _DAY:
            raise PullError(f"a period is from 1 to {MAX_DAYS} days")
        found = []
        for report in REPORTS[self._vendor]:
            pages = self._report(report, since, until)
            if pages is not None:
                found.append((report.source, pack(_joined(pages))))
        return found

    def _report(self, report: Report, since: datetime, until: datetime) -> list[bytes] | None:
        """All pages of a report; None where the account has none such."""
        for number, grouping in enumerate(report.groupings, start=1):
            pages: list[bytes] = []
            try:
                for begin, end in _ranges(since, until, report):
                    self._pages(report, grouping, begin, end, pages)
            except _Refused as refused:
                if refused.status == 400 and number < len(report.groupings):
                    continue
                if report.optional and refused.status in _NOT_THERE:
                    self.skipped.append(f"{report.source}: {refused}")
                    return None
                raise PullError(f"{report.source}: {refused}") from None
            return pages
        raise AssertionError("a report has at least one grouping")

    def _pages(
        self, report: Report, grouping: tuple[str, ...], begin: datetime, end: datetime, pages: list[bytes]
    ) -> None:
        """Follows the pages of one range to the end."""
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            if len(pages) >= MAX_PAGES:
                raise PullError(f"{report.source}: over {MAX_PAGES:,} pages; ask for fewer days at once")
            reply = self._page(report, f"{report.path}?{_query(report, grouping, begin, end, cursor)}")
            pages.append(reply.content)
            if not isinstance(reply.body, dict) or not isinstance(reply.body.get("data"), list):
                raise PullError(f"{report.source}: a page is no object with a list `data`")
            if not reply.body.get("has_more"):
                return
            cursor = reply.body.get("next_page")
            if not isinstance(cursor, str) or cursor in seen:
                raise PullError(
                    f"{report.source}: a page says that there are more, and not where, or where we were before"
                )
            seen.add(cursor)

    def _page(self, report: Report, path: str) -> Reply:
        """One page, asked for again as often and as late as the vendor wants it, within bounds."""
        headers = {**_authorization(self._vendor, self._key), **(report.headers or {})}
        why = ""
        for attempt in range(MAX_ATTEMPTS):
            answer = self._endpoint.call("GET", path, headers=headers)
            if isinstance(answer, Reply):
                return answer
            if isinstance(answer, Dead):
                raise _Refused(answer.why, answer.status)
            assert isinstance(answer, TryAgain)
            why = answer.why
            seconds = answer.after_seconds if answer.after_seconds is not None else 2**attempt
            if seconds > MAX_WAIT_SECONDS:
                raise PullError(f"{report.source}: {why}, and to be asked again in {seconds:,} seconds only")
            if attempt + 1 < MAX_ATTEMPTS:
                self._wait(seconds)
        raise PullError(f"{report.source}: {why}, {MAX_ATTEMPTS} times in a row")


class _Refused(Exception):  # noqa: N818 - the vendor's answer, which the caller may understand
    def __init__(self, why: str, status: int | None) -> None:
        super().__init__(why)
        self.status = status


def _ranges(since: datetime, until: datetime, report: Report) -> Iterator[tuple[datetime, datetime]]:
    step = _DAY if report.paging == "days" else report.days_at_once * _DAY
    while since < until:
        end = min(until, since + step) if until - since > step else until
        yield since, end
        since = end


def _query(report: Report, grouping: tuple[str, ...], begin: datetime, end: datetime, cursor: str | None) -> str:
    if report.paging == "days":
        return urlencode({"date": f"{begin:%Y-%m-%d}"})
    asked: list[tuple[str, Any]]
    if report.paging == "openai":
        asked = [("start_time", int(begin.timestamp())), ("end_time", int(end.timestamp())), ("bucket_width", "1d")]
        asked += [("group_by", name) for name in grouping]
    else:
        asked = [
            ("starting_at", f"{begin:%Y-%m-%dT%H:%M:%SZ}"),
            ("ending_at", f"{end:%Y-%m-%dT%H:%M:%SZ}"),
            ("bucket_width", "1d"),
        ]
        asked += [("group_by[]", name) for name in grouping]
    asked.append(("limit", report.buckets))
    if cursor is not None:
        asked.append(("page", cursor))
    return urlencode(asked)


def _authorization(vendor: str, key: str) -> dict[str, str]:
    if vendor == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    return {"authorization": f"Bearer {key}"}


def _joined(pages: list[bytes]) -> Iterator[bytes]:
    for page in pages:
        yield page
        yield b"\n"
