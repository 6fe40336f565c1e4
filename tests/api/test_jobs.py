"""Jobs over the API: who sees them, who has one tried again."""

import pytest

from tests.api.support import Caller, Plane, refused


@pytest.fixture
def failed(plane: Plane) -> int:
    """A job that failed for good."""
    ((job_id,),) = plane.sql(
        "INSERT INTO remit_jobs.procrastinate_jobs (queue_name, task_name, lock, status, attempts)"
        " VALUES ('remit', 'sync', 'sync:slack', 'failed', 8) RETURNING id"
    )
    plane.authority.jobs.failed(job_id, "OSError: nobody listens")
    return int(job_id)


def test_jobs_are_counted_and_listed(plane: Plane, admin: Caller, failed: int) -> None:
    """With state, attempts and the last error, page by page, of one state or of all."""
    page = admin.get("/jobs", in_state="failed").json()
    (job,) = [one for one in page["jobs"] if one["id"] == failed]
    assert (job["task"], job["key"], job["state"], job["attempts"]) == ("sync", "sync:slack", "failed", 8)
    assert job["error"] == "OSError: nobody listens"
    assert {"task": "sync", "state": "failed"}.items() <= next(
        one for one in page["counts"] if (one["task"], one["state"]) == ("sync", "failed")
    ).items()
    first = admin.get("/jobs", limit=1, after=failed - 1).json()
    assert [one["id"] for one in first["jobs"]] == [failed] and first["next"] == failed
    assert admin.get("/jobs", after=failed).json()["next"] is None
    refused(admin.get("/jobs", in_state="lost"), 400, "malformed_request")


def test_the_doctor_tells_of_jobs(plane: Plane, admin: Caller, failed: int) -> None:
    """What failed for good is a difference over the API as well."""
    (check,) = [one for one in admin.get("/doctor").json()["checks"] if one["name"] == "jobs"]
    assert any("nobody listens" in one["found"] for one in check["differences"])


def test_a_job_is_tried_again_by_who_may(plane: Plane, admin: Caller, failed: int) -> None:
    """A retry is a write with an idempotency key, for admins and operators; there is nothing to retry a second time."""
    owner, operator = plane.caller("owner@acme.example"), plane.caller("ops@acme.example")
    body = {"person": "ops@acme.example", "role": "gateway_operator", "reason": "test"}
    assert admin.write("POST", "/roles", body).status_code == 201
    retry = f"/jobs/{failed}/retry"
    refused(owner.get("/jobs"), 403, "not_permitted")
    refused(owner.write("POST", retry), 403, "not_permitted")
    assert operator.write("POST", retry, key="again").json() == {"id": failed, "task": "sync"}
    assert plane.authority.jobs.listed(["due"], failed - 1, 1)[0]["attempts"] == 0
    assert operator.write("POST", retry, key="again").headers["idempotency-replayed"] == "true"
    refused(operator.write("POST", retry), 404, "unknown_job")
