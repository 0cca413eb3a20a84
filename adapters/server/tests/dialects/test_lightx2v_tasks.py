"""lightx2v's tasks: states, vocabularies, results, downloads."""

import http.client
import itertools
import threading
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests

from framegate.core.types import MediaKind
from tests.support.http_stand import CONTENT, Stand, StandMaker
from tests.support.lightx2v_client import refusal, status, submit

VIDEO = CONTENT[MediaKind.VIDEO]


def test_the_document_s_words(stand: Stand) -> None:
    sent = submit(stand)
    task_id = sent["task_id"]
    assert sent["status"] == "submitted"
    assert sent["message"] == "Task created successfully"
    job = stand.claim()
    stand.store.advance(job.id, 0.5, "step 2 of 4")
    running = status(stand, task_id)
    assert (running["status"], running["progress"], running["message"]) == ("running", 0.5, "Processing...")
    assert running["file_path"] is None
    stand.finish(job)
    done = status(stand, task_id)
    assert (done["status"], done["task_status"], done["progress"]) == ("succeed", "succeed", 1.0)
    assert done["file_path"] == f"outputs/videos/{task_id}.mp4"
    file = requests.get(f"{stand.url}/v1/files/download/{done['file_path']}", timeout=10)
    assert (file.status_code, file.content, file.headers["Content-Type"]) == (200, VIDEO, "video/mp4")


@pytest.mark.parametrize(
    "path", ["/v1/tasks/video/", "/v1/tasks/", "/v1/tasks", "/v1/tasks/image", "/v1/tasks/image/"]
)
def test_the_real_server_s_words(stand: Stand, path: str) -> None:
    sent = submit(stand, path, save_result_path="./results/cat")
    suffix = "png" if "image" in path else "mp4"
    assert (sent["task_status"], sent["save_result_path"]) == ("pending", f"results/cat.{suffix}")
    job = stand.claim()
    assert status(stand, job.id)["status"] == "processing"
    stand.finish(job)
    done = status(stand, job.id)
    assert (done["status"], done["error"], done["error_type"]) == ("completed", None, "")
    assert done["start_time"] < done["end_time"]
    file = requests.get(f"{stand.url}/v1/files/download/{done['save_result_path']}", timeout=10)
    assert file.content == CONTENT[job.request.task.output]
    assert (
        requests.get(f"{stand.url}/v1/files/download/{done['file_path']}", timeout=10).content == file.content
    )


def test_failures_and_cancels(stand: Stand) -> None:
    for path, failed, cancelled in (
        ("/v1/tasks/video", "failed", "failed"),
        ("/v1/tasks/video/", "failed", "cancelled"),
    ):
        first = submit(stand, path)["task_id"]
        stand.fail(stand.claim(), "Out of luck.")
        state = status(stand, first)
        assert (state["status"], state["message"], state["error"]) == (failed, "Out of luck.", "Out of luck.")
        assert state["error_type"] == "generation_failed"
        second = submit(stand, path)["task_id"]
        stand.claim()
        assert (
            requests.delete(f"{stand.url}/v1/tasks/{second}", timeout=10).json()["stop_status"] == "success"
        )
        state = status(stand, second)
        assert (state["status"], state["message"]) == (cancelled, "cancelled")
        assert stand.job(second).cancel_requested
        stand.store.finish_cancelled(second)
        assert status(stand, second)["status"] == cancelled


@pytest.mark.parametrize(("setting", "word"), [("document", "submitted"), ("server", "pending")])
def test_a_fixed_vocabulary(make_stand: StandMaker, setting: str, word: str) -> None:
    stand = make_stand({"lightx2v": {"vocabulary": setting}})
    for path in ("/v1/tasks/video", "/v1/tasks/video/", "/v1/tasks/"):
        assert submit(stand, path)["status"] == word


def test_queue_and_service(make_stand: StandMaker) -> None:
    stand = make_stand(max_queued=2)
    queue = f"{stand.url}/v1/tasks/queue/status"
    service = f"{stand.url}/v1/service/status"
    assert requests.get(queue, timeout=10).json() == {
        "is_processing": False,
        "current_task": None,
        "pending_count": 0,
        "active_count": 0,
        "queue_size": 2,
        "queue_available": 2,
    }
    first = submit(stand)["task_id"]
    submit(stand)
    full = requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x"}, timeout=10)
    assert (full.status_code, full.json()) == (503, {"detail": "Task queue is full (max 2 tasks)"})
    assert int(full.headers["Retry-After"]) > 0
    stand.claim()
    state = requests.get(queue, timeout=10).json()
    assert (state["is_processing"], state["current_task"], state["pending_count"]) == (True, first, 1)
    assert requests.get(service, timeout=10).json() == {
        "service_status": "busy",
        "current_task": first,
        "active_tasks": [first],
        "pending_tasks": 1,
        "queue_size": 2,
        "total_tasks": 2,
        "completed_tasks": 0,
        "failed_tasks": 0,
    }
    stopped = requests.delete(f"{stand.url}/v1/tasks/all/running", timeout=10).json()
    assert stopped == {"stop_status": "success", "reason": "All tasks stopped successfully."}
    assert {
        task["message"] for task in requests.get(f"{stand.url}/v1/tasks", timeout=10).json().values()
    } == {"cancelled"}
    assert requests.get(f"{stand.url}/v1/service/metadata", timeout=10).json() == {
        "nproc_per_node": 1,
        "model_cls": "preview",
        "model_path": "lightx2v",
    }


def test_own_ids(stand: Stand) -> None:
    assert submit(stand, task_id="my-task.1")["task_id"] == "my-task.1"
    again = requests.post(f"{stand.url}/v1/tasks/", json={"prompt": "x", "task_id": "my-task.1"}, timeout=10)
    assert (again.status_code, again.json()) == (409, {"detail": "Task ID my-task.1 already exists"})
    assert submit(stand, task_id="")["task_id"]  # as browsers send an empty field
    bad = (" ", "a/b", "../x", ".", "..", "x" * 129, "a\nb", "\x7f", "queue", "all", "running")
    for task_id in bad:
        (item,) = refusal(stand, task_id=task_id)
        assert item["loc"] == ["body", "task_id"]


@pytest.mark.parametrize(
    "task_id",
    [
        "a b",
        ".hidden",
        "Küche 猫",
        "50%",
        "%2e",
        "why?",
        "#1",
        "a\\b",
        "{task_id}",
        "~" + "0" * 64,
        "x" * 128,
        "猫" * 128,
        "video",
        "image",
        "form",
        "sync",
        "status",
        "sensenova-vision",
    ],
)
def test_ids_that_need_quoting(stand: Stand, task_id: str) -> None:
    sent = submit(stand, "/v1/tasks/video/", task_id=task_id)
    assert (sent["task_id"], sent["save_result_path"]) == (task_id, task_id)
    again = requests.post(f"{stand.url}/v1/tasks/", json={"prompt": "x", "task_id": task_id}, timeout=10)
    assert (again.status_code, again.json()) == (409, {"detail": f"Task ID {task_id} already exists"})
    url = f"{stand.url}/v1/tasks/{quote(task_id, safe='')}"
    job = stand.claim()
    assert requests.get(f"{stand.url}/v1/service/status", timeout=10).json()["active_tasks"] == [task_id]
    assert requests.get(f"{url}/status", timeout=10).json()["task_id"] == task_id
    stand.finish(job)
    done = requests.get(f"{url}/status", timeout=10).json()
    assert (done["status"], done["save_result_path"]) == ("completed", f"{task_id}.mp4")
    assert requests.get(f"{url}/result", timeout=10).content == VIDEO
    assert requests.get(f"{stand.url}/v1/files/download/{done['file_path']}", timeout=10).content == VIDEO
    assert requests.get(f"{stand.url}/v1/tasks/", timeout=10).json() == {task_id: done}
    stopped = requests.delete(url, timeout=10)
    if task_id in ("video", "image"):  # routes of their own, which take POST
        assert stopped.status_code == 405
    else:
        assert stopped.json()["stop_status"] == "do_nothing"
    names = {path.name for path in stand.folder.rglob("*")}
    assert all(name.isascii() and len(name) < 140 for name in names)


def test_results_that_are_not_there(stand: Stand) -> None:
    task_id = submit(stand)["task_id"]
    early = requests.get(f"{stand.url}/v1/tasks/{task_id}/result", timeout=10)
    assert (early.status_code, early.json()) == (404, {"detail": "Task not completed"})
    job = stand.run_next()
    stand.artifacts.delete(job.artifacts[0].key)
    gone = requests.get(f"{stand.url}/v1/tasks/{task_id}/result", timeout=10)
    assert gone.status_code == 404
    assert str(stand.folder) not in gone.text
    unknown = requests.get(f"{stand.url}/v1/tasks/none/result", timeout=10)
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Task not found"})


def raw(stand: Stand, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Send a request whose path is not normalised."""
    parts = urlsplit(stand.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "outputs/videos/../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "..\\..\\etc\\passwd",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "outputs/videos/cat.mp4%00.png",
        "outputs/videos/....//....//etc/passwd",
        "file:///etc/passwd",
        "results/cat.mp4",
        "outputs/videos/",
        "",
    ],
)
def test_no_download_leads_out(shared_stand: Stand, path: str) -> None:
    if not shared_stand.has("cat"):
        submit(shared_stand, task_id="cat")
        shared_stand.run_next()
    for method in ("GET", "HEAD"):
        code, body = raw(shared_stand, f"/v1/files/download/{path}", method)
        assert code in (403, 404), (code, body)
        assert str(shared_stand.folder).encode() not in body
        assert b"root:" not in body
        assert (b'"detail"' in body) == (method == "GET")


def test_downloads_by_absolute_path(stand: Stand) -> None:
    submit(stand, task_id="cat")
    stand.run_next()
    inside = stand.folder / "outputs" / "videos" / "cat.mp4"
    assert raw(stand, f"/v1/files/download/{inside}") == (200, VIDEO)
    assert raw(stand, f"/v1/files/download{inside}") == (200, VIDEO)
    outside = stand.folder / "results" / "cat.mp4"
    assert outside.is_file()
    assert raw(stand, f"/v1/files/download/{outside}")[0] == 404


def test_ranges(stand: Stand) -> None:
    submit(stand, task_id="cat", save_result_path="holiday/my cät.mp4")
    stand.run_next()
    for url in (f"{stand.url}/v1/tasks/cat/result", f"{stand.url}/v1/files/download/outputs/videos/cat.mp4"):
        whole = requests.get(url, timeout=10)
        assert whole.headers["Accept-Ranges"] == "bytes"
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert "my%20c%C3%A4t.mp4" in whole.headers["Content-Disposition"]
        tag = whole.headers["ETag"]

        def part(value: str, url: str = url, **headers: str) -> requests.Response:
            return requests.get(url, headers={"Range": value, **headers}, timeout=10)

        first = part("bytes=0-9")
        assert (first.status_code, first.content) == (206, VIDEO[:10])
        assert first.headers["Content-Range"] == f"bytes 0-9/{len(VIDEO)}"
        assert part("bytes=-5").content == VIDEO[-5:]
        assert part("bytes=1000-").content == VIDEO[1000:]
        assert "multipart/byteranges" in part("bytes=0-1,5-6").headers["Content-Type"]
        beyond = part("bytes=999999-")
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(VIDEO)}")
        assert part("bytes=0-9", **{"If-Range": tag}).status_code == 206
        assert part("bytes=0-9", **{"If-Range": '"other"'}).status_code == 200
        for ignored in ("junk", "bytes=", "bytes=a-b", "bytes=9-5", "bytes=0-1,x", "items=0-5", "bytes=٤-"):
            answer = part(ignored.encode().decode("latin-1"))
            assert (answer.status_code, answer.content) == (200, VIDEO), ignored
        head = requests.head(url, timeout=10)
        assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(VIDEO)), b"")
        for tags in (tag, f'"x", W/{tag}', "*"):
            same = requests.get(url, headers={"If-None-Match": tags}, timeout=10)
            assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)


def test_sync_images(stand: Stand) -> None:
    url = f"{stand.url}/v1/tasks/image/sync"
    with stand.working():
        answer = requests.post(url, json={"prompt": "x"}, params={"poll_interval_seconds": "0.5"}, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.content == CONTENT[MediaKind.IMAGE]
    assert answer.headers["Content-Disposition"].startswith("inline")
    with stand.working(failing="No luck."):
        failed = requests.post(url, json={"prompt": "x"}, timeout=10)
    assert (failed.status_code, failed.json()) == (500, {"detail": "No luck."})
    late = requests.post(
        url, json={"prompt": "x", "task_id": "late"}, params={"timeout_seconds": "0.05"}, timeout=10
    )
    assert late.status_code == 504
    assert status(stand, "late")["status"] == "cancelled"
    for name, value in itertools.product(("timeout_seconds", "poll_interval_seconds"), ("0", "-1")):
        refused = requests.post(url, json={"prompt": "x"}, params={name: value}, timeout=10)
        assert (refused.status_code, refused.json()) == (400, {"detail": f"{name} must be > 0"})
    (item,) = requests.post(url, json={"prompt": "x"}, params={"timeout_seconds": "x"}, timeout=10).json()[
        "detail"
    ]
    assert item["loc"] == ["query", "timeout_seconds"]


def test_a_cancelled_sync_image(stand: Stand) -> None:
    answers: list[requests.Response] = []

    def ask() -> None:
        body = {"prompt": "x", "task_id": "doomed"}
        answers.append(requests.post(f"{stand.url}/v1/tasks/image/sync", json=body, timeout=10))

    asking = threading.Thread(target=ask)
    asking.start()
    stand.wait_claim()
    requests.delete(f"{stand.url}/v1/tasks/doomed", timeout=10)
    stand.store.finish_cancelled("doomed")
    asking.join()
    assert answers[0].status_code == 409


def test_paths_without_the_dialect_s_jobs(stand: Stand, tmp_path: Path) -> None:
    with stand.working():
        requests.post(f"{stand.url}/predict", json={"prompt": "x"}, timeout=10)
    (foreign,) = (job.id for job in stand.jobs())
    assert requests.get(f"{stand.url}/v1/tasks/{foreign}/status", timeout=10).status_code == 404
    assert requests.get(f"{stand.url}/v1/tasks/", timeout=10).json() == {}
