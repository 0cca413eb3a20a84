"""The ids of tasks: chosen by clients, and each key's own."""

import hashlib
from typing import Any
from urllib.parse import quote

import pytest
import requests
from msgspec.structs import replace

from framegate.core.jobs import CLIENT_ID_LABEL, job_id_for
from framegate.core.ports import Limits
from tests.support.http_stand import Stand, StandMaker

ALICE, BOB = ({"Authorization": f"Bearer {name}-key"} for name in ("alice", "bob"))
UUID = "0123456789abcdef0123456789abcdef"
IDS = ["mine", UUID, "a b ü", "~x", "2026-01-02T03:04", "x" * 128]


@pytest.fixture
def guarded(make_stand: StandMaker) -> Stand:
    keys = [
        {"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest()}
        for name in ("alice", "bob")
    ]
    return make_stand(auth={"keys": keys})


def submit(stand: Stand, task_id: str, headers: dict[str, str], **fields: Any) -> requests.Response:
    body = {"prompt": "x", "task_id": task_id, **fields}
    return requests.post(f"{stand.url}/v1/tasks/video", json=body, headers=headers, timeout=10)


def get(stand: Stand, path: str, headers: dict[str, str]) -> requests.Response:
    return requests.get(stand.url + path, headers=headers, timeout=10)


def test_two_keys_may_choose_the_same_ids(guarded: Stand) -> None:
    for task_id in IDS:
        quoted = quote(task_id, safe="")
        answers = [submit(guarded, task_id, headers) for headers in (ALICE, BOB)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert [answer.json()["task_id"] for answer in answers] == [task_id, task_id]
        done, waiting = (ALICE, BOB) if guarded.run_next().owner == "alice" else (BOB, ALICE)
        for headers, status in ((done, 200), (waiting, 404)):
            assert get(guarded, f"/v1/tasks/{quoted}/result", headers).status_code == status
        stopped = requests.delete(f"{guarded.url}/v1/tasks/{quoted}", headers=waiting, timeout=10).json()
        assert stopped["stop_status"] == "success"
        states = [get(guarded, f"/v1/tasks/{quoted}/status", headers).json() for headers in (done, waiting)]
        assert [state["task_id"] for state in states] == [task_id, task_id]
        assert [state["task_status"] for state in states] == ["completed", "cancelled"]
    assert len({job.id for job in guarded.jobs()}) == 2 * len(IDS)
    for headers in (ALICE, BOB):
        assert list(get(guarded, "/v1/tasks/", headers).json()) == IDS


def test_a_key_s_own_id_is_taken_once(guarded: Stand) -> None:
    for number, task_id in enumerate(IDS, start=1):
        assert submit(guarded, task_id, ALICE).status_code == 200
        again = submit(guarded, task_id, ALICE)
        assert (again.status_code, again.json()) == (409, {"detail": f"Task ID {task_id} already exists"})
        assert len(guarded.jobs()) == number


def test_another_key_s_id_shows_in_no_answer(guarded: Stand) -> None:
    """Neither by 409 against 422, nor by anything else."""
    submit(guarded, "secret-project", ALICE, save_result_path="film.mp4")
    guarded.run_next()
    for path in ("/status", "/result"):
        taken, free = (get(guarded, f"/v1/tasks/{name}{path}", BOB) for name in ("secret-project", "nothing"))
        assert (taken.status_code, taken.json()) == (free.status_code, free.json())
    broken = {"image_path": "https://example.com/broken.png"}
    refusals = [submit(guarded, name, BOB, **broken) for name in ("secret-project", "nothing")]
    assert [answer.status_code for answer in refusals] == [422, 422]
    for name in ("secret-project.mp4", "outputs/videos/secret-project.mp4", "film.mp4"):
        assert get(guarded, f"/v1/files/download/{name}", ALICE).status_code == 200
        assert get(guarded, f"/v1/files/download/{name}", BOB).status_code == 404
    stored = guarded.jobs()[0].id
    for name in (stored, f"{stored}.mp4"):
        assert get(guarded, f"/v1/files/download/{name}", BOB).status_code == 404
        assert get(guarded, f"/v1/tasks/{name}/status", BOB).status_code == 404


def test_files_have_the_client_s_own_name(guarded: Stand) -> None:
    submit(guarded, "my film", ALICE)
    submit(guarded, "mine", ALICE)
    for _ in range(2):
        guarded.run_next()
    plain = get(guarded, "/v1/tasks/mine/status", ALICE).json()
    assert (plain["file_path"], plain["save_result_path"]) == ("outputs/videos/mine.mp4", "mine.mp4")
    odd = get(guarded, "/v1/tasks/my%20film/status", ALICE).json()
    assert odd["save_result_path"] == "my film.mp4"
    for path, name in ((plain["file_path"], "mine.mp4"), (odd["file_path"], "my%20film.mp4")):
        file = get(guarded, f"/v1/files/download/{path}", ALICE)
        assert file.status_code == 200
        assert name in file.headers["Content-Disposition"]


def test_an_id_that_the_server_gave_is_taken_too(guarded: Stand) -> None:
    given = requests.post(
        f"{guarded.url}/v1/tasks/video", json={"prompt": "x"}, headers=ALICE, timeout=10
    ).json()["task_id"]
    assert guarded.jobs()[0].id == given
    assert get(guarded, f"/v1/tasks/{given}/status", ALICE).json()["task_id"] == given
    assert submit(guarded, given, ALICE).status_code == 409
    assert submit(guarded, given, BOB).status_code == 200, "another key neither sees nor misses it"
    assert get(guarded, f"/v1/tasks/{given}/status", ALICE).json()["task_status"] == "submitted"
    assert [job.owner for job in guarded.jobs()] == ["alice", "bob"]


async def test_tasks_of_earlier_versions_are_still_found(guarded: Stand) -> None:
    """They were stored by the client's id itself, or by a digest of it alone."""
    submit(guarded, "new", ALICE)
    job = guarded.jobs()[0]
    labels = {name: value for name, value in job.labels.items() if name != CLIENT_ID_LABEL}
    named = {**labels, CLIENT_ID_LABEL: "an old one"}
    for old_id, old_labels in (("old", labels), (job_id_for("", "an old one"), named)):
        old = replace(job, id=old_id, labels=old_labels, share_id="")
        await guarded.store.submit(old, limits=Limits())
    for task_id in ("old", "an%20old%20one"):
        state = get(guarded, f"/v1/tasks/{task_id}/status", ALICE)
        assert (state.status_code, state.json().get("task_id")) == (200, task_id.replace("%20", " "))
        assert get(guarded, f"/v1/tasks/{task_id}/status", BOB).status_code == 404


def test_the_stored_ids_of_different_names_differ() -> None:
    pairs = [("alice", "x"), ("alic", "ex"), ("", "alice"), ("bob", "x"), ("", "x"), ("", "a x"), ("a", " x")]
    assert len({job_id_for(*pair) for pair in pairs}) == len(pairs)
    assert job_id_for("", "x") == "x"
