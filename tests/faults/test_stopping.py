"""SIGTERM while calls wait for their answers, and while models can't be interrupted."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import requests

from tests.support.running import RunningServer, clean_environ, eventually, running_worker, workers_of
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]

CONFIG = """
[aliases.long]
model = "sora2-landscape-25s"
defaults = { num_inference_steps = 1000 }
[aliases.short]
model = "sora2-landscape-10s"
defaults = { width = 416, height = 240 }
"""


def chat(server: RunningServer, model: str) -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "a boat"}]}
    return requests.post(f"{server.url}/v1/chat/completions", json=body, timeout=150)


def predict(server: RunningServer) -> requests.Response:
    fields = {"prompt": "a boat", "width": 64, "height": 64, "num_frames": 25}
    return requests.post(f"{server.url}/predict", json=fields, timeout=150)


def picture(server: RunningServer) -> requests.Response:
    body = {"prompt": "a boat", "size": "256x256"}
    return requests.post(f"{server.url}/v1/images/generations", json=body, timeout=150)


def test_calls_that_can_not_be_finished_are_told_to_come_back(start_server: StartServer) -> None:
    server = start_server(config=f"{CONFIG}\n[server]\nshutdown_grace = 1\n")
    with ThreadPoolExecutor() as pool:
        # The first runs, the others wait for its end.
        waiting = [pool.submit(chat, server, "long")]
        eventually(lambda: server.json("jobs", "list", "--state", "running"), what="the running job")
        waiting += [pool.submit(predict, server), pool.submit(picture, server)]
        eventually(lambda: len(server.json("jobs", "list")) == 3, what="all jobs")
        server.terminate()
        answers = [call.result() for call in waiting]
    assert server.stop() == 0
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert "shutting down" in answer.text
        assert answer.headers["Content-Type"].startswith("application/json")
    assert "Traceback" not in server.log_text()
    assert "ASGI" not in server.log_text()


def test_a_call_that_can_be_finished_is(start_server: StartServer) -> None:
    """Nothing waits for the grace to be over: it is longer than this test may take."""
    server = start_server(config=f"{CONFIG}\n[server]\nshutdown_grace = 3600\n")
    with ThreadPoolExecutor() as pool:
        call = pool.submit(chat, server, "short")
        eventually(lambda: server.json("jobs", "list", "--state", "running"), what="the running job")
        server.terminate()
        answer = call.result()
    assert answer.status_code == 200, answer.text
    assert server.stop() == 0


def submit(server: RunningServer, prompt: str, model: str) -> None:
    body = {"model": model, "prompt": prompt, "async_mode": True}
    answer = requests.post(f"{server.url}/v1/videos/generate", json=body, timeout=60)
    assert answer.status_code == 200, answer.text


def _loads(server: RunningServer, times: int) -> bool:
    return server.log_text().count("model_loading") == times


def wait_for_job(server: RunningServer, state: str, *, attempt: int) -> None:
    def look() -> bool:
        [job] = server.json("jobs", "list")
        return (job["state"], job["attempt"]) == (state, attempt)

    eventually(look, what=f"a {state} job")


def test_restarts_while_a_model_loads_cost_no_attempt(start_server: StartServer, tmp_path: Path) -> None:
    environ = trouble_environ(tmp_path / "plugin")
    server = start_server(config='[server]\nshutdown_grace = "0.1s"\n', environ=environ)
    submit(server, "a boat", "slow")
    for times in (1, 2, 3):
        eventually(partial(_loads, server, times), what=f"loading, time {times}")
        assert server.stop(60) == 0
        server.restart()
    assert server.log_text().count("job_requeued") == 3
    (tmp_path / "plugin" / "loadable").touch()
    wait_for_job(server, "succeeded", attempt=1)
    assert "expired_leases_reclaimed" not in server.log_text()


def test_a_worker_whose_model_keeps_the_gil_ends_in_time(
    start_server: StartServer, tmp_path: Path, queue_url: str
) -> None:
    """Its own code isn't even notified of the signal: the native call takes longer than this test may."""
    environ = clean_environ(
        {
            **trouble_environ(tmp_path / "plugin"),
            "FRAMEGATE_QUEUE__URL": queue_url,
            "FRAMEGATE_SERVER__SHUTDOWN_GRACE": "1s",
        }
    )
    api = start_server(environ=environ, arguments=["--no-worker"], ready="/health")
    log = tmp_path / "worker.log"
    start_worker = partial(running_worker, api.data_dir, "--models", "trouble", environ=environ, log=log)
    with start_worker() as worker:
        api.wait_until_ready()
        submit(api, "hold-once 3600", "trouble")
        eventually((tmp_path / "plugin" / "held").exists, what="the native call")
        worker.terminate()
        worker.wait(60)
        wait_for_job(api, "queued", attempt=0)
    assert '"by": "heartbeat process"' in log.read_text()
    assert "worker_stopping" not in log.read_text()
    with start_worker():
        wait_for_job(api, "succeeded", attempt=1)


def test_a_signal_ends_a_worker_whichever_of_its_threads_it_interrupts(start_server: StartServer) -> None:
    server = start_server()
    [worker] = workers_of(server.process.pid)
    last_thread = max(thread.id for thread in psutil.Process(worker).threads())
    assert last_thread != worker
    os.kill(last_thread, signal.SIGTERM)  # to the process, by the name of that thread, which gets it
    eventually(lambda: "worker_stopping" in server.log_text(), what="the worker's stop")
    eventually(lambda: worker not in workers_of(server.process.pid), seconds=10, what="its end")
