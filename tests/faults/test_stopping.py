"""SIGTERM while calls wait for their answers."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests
from running import RunningServer, eventually

StartServer = Callable[..., RunningServer]

CONFIG = """
[aliases.long]
model = "sora2-landscape-25s"
defaults = { num_inference_steps = 1000 }
[aliases.short]
model = "sora2-landscape-10s"
defaults = { width = 832, height = 480 }
"""


def chat(server: RunningServer, model: str) -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "a boat"}]}
    return requests.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)


def predict(server: RunningServer) -> requests.Response:
    fields = {"prompt": "a boat", "width": 64, "height": 64, "num_frames": 25}
    return requests.post(f"{server.url}/predict", json=fields, timeout=60)


def picture(server: RunningServer) -> requests.Response:
    body = {"prompt": "a boat", "size": "256x256"}
    return requests.post(f"{server.url}/v1/images/generations", json=body, timeout=60)


def test_calls_that_can_not_be_finished_are_told_to_come_back(start_server: StartServer) -> None:
    server = start_server(config=f"{CONFIG}\n[server]\nshutdown_grace = 1\n")
    with ThreadPoolExecutor() as pool:
        # The first runs, the others wait for its end.
        waiting = [pool.submit(chat, server, "long")]
        eventually(lambda: server.json("jobs", "list", "--state", "running"), what="the running job")
        waiting += [pool.submit(predict, server), pool.submit(picture, server)]
        eventually(lambda: len(server.json("jobs", "list")) == 3, what="all jobs")
        server.process.terminate()
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
    server = start_server(config=f"{CONFIG}\n[server]\nshutdown_grace = 60\n")
    with ThreadPoolExecutor() as pool:
        call = pool.submit(chat, server, "short")
        eventually(lambda: server.json("jobs", "list", "--state", "running"), what="the running job")
        began = time.monotonic()
        server.process.terminate()
        answer = call.result()
    assert answer.status_code == 200, answer.text
    assert server.stop() == 0
    assert time.monotonic() - began < 50, "nothing waits for the grace to be over"
