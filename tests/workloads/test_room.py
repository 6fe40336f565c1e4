"""How many exchanges run at a time, and whom a slow issuer keeps waiting."""

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from remit.api.exchange import MAX_CONCURRENT
from tests.api.support import Plane
from tests.workloads.issuer import Issuer, running_issuer, sign
from tests.workloads.test_exchange import ask, github


class Gate:
    """A key set's answer waits until it is opened."""

    def __init__(self, issuer: Issuer) -> None:
        self.opened = threading.Event()
        issuer.before_answer = self._wait

    def _wait(self) -> None:
        assert self.opened.wait(timeout=30)


def test_a_fifth_exchange_is_told_to_come_again_and_people_are_answered() -> None:
    """While four exchanges wait for an issuer, a fifth gets 503, people are served, and afterwards so are workloads."""
    with running_issuer() as issuer:
        rule = {
            "name": "ci",
            "issuer": issuer.url,
            "audience": "remit.acme.example",
            "grant": "acme",
            "claims": {"sub": "repo:acme/*"},
        }
        with Plane(workloads=[rule]) as plane, ThreadPoolExecutor(MAX_CONCURRENT + 1) as pool:
            plane.admin.made("acme", 10**9)
            gate = Gate(issuer)
            token = sign(github(issuer))
            asking = [pool.submit(ask, plane, token) for _ in range(MAX_CONCURRENT + 1)]
            (first,), waiting = wait(asking, timeout=20, return_when=FIRST_COMPLETED)
            refused = first.result()
            assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
            assert refused.headers["retry-after"] == "1"
            assert plane.admin.get("/grants/acme").status_code == 200
            assert not any(one.done() for one in waiting)
            gate.opened.set()
            assert [one.result().status_code for one in waiting] == [200] * MAX_CONCURRENT
            assert ask(plane, token).status_code == 200
            assert issuer.fetched == 1
