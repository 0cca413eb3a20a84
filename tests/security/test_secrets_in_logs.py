"""No secret is ever written: a whole run with every logger at debug, and everything it printed."""

import base64
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import StartServer
from tests.security.listener import Listener
from tests.support.attacking import media
from tests.support.receiving import SECRET as WEBHOOK_SECRET
from tests.support.receiving import Receiver
from tests.support.running import RunningServer, eventually, framegate
from tests.support.s3_servers import SECRET as BUCKET_SECRET
from tests.support.s3_servers import rclone_server
from tests.support.web_folder import served_folder

ALL_LOGGERS = """
import logging
def _debug(self, level):
    self.level = logging.DEBUG
    self.manager._clear_cache()
logging.Logger.setLevel = _debug
"""
"""The server's ``sitecustomize``: no logger can be told to keep quiet."""
KEY = "secret-of-alice-5f0c9a7be3"
WRONG_KEY = "secret-of-nobody-1b7d2e"
SIGNATURE = "secret-signature-8a41c0"
PASSWORD = "secret-password-77de1"
COOKIE = "secret-cookie-93bb2f"
OPERATORS_TOKEN = "secret-token-c05d11"
SECRETS = {
    "the key": KEY,
    "the key as base64": base64.b64encode(KEY.encode()).decode().rstrip("="),
    "a wrong key": WRONG_KEY,
    "a link's signature": SIGNATURE,
    "a link's password": PASSWORD,
    "a cookie": COOKIE,
    "the token in the webhook's URL": OPERATORS_TOKEN,
    "the webhook's secret": WEBHOOK_SECRET,
    "the webhook's secret without its mark": WEBHOOK_SECRET.removeprefix("whsec_"),
    "the webhook's secret decoded": base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_")).decode(),
    "the bucket's secret": BUCKET_SECRET,
    "a traceback's variables": "secret-of-",
}
LOGGERS = {
    "PIL.PngImagePlugin",
    "asyncio",
    "dramatiq.worker.WorkerThread",
    "framegate.audit",
    "framegate.core.service",
    "framegate.server.request_log",
    "framegate.server.webhooks.delivery_worker",
    "framegate.worker.process",
    "uvicorn.error",
}
"""Some of those that write while the run goes on."""
CONFIG = """
[fetch]
allow = ["127.0.0.1"]
timeout = 3.0

[webhooks]
url = "{receiver}/ops?token={token}"
secret = {{ env = "HOOK_SECRET" }}

[aliases.small]
model = "sora2-landscape-10s"
defaults = {{ width = 64, height = 64, duration = 0.5, num_inference_steps = 1 }}

[aliases.tiny-image]
model = "gpt-image"
defaults = {{ width = 64, height = 64, num_inference_steps = 1 }}

[aliases.sora-2]
model = "sora-2"
defaults = {{ width = 64, height = 64, duration = 0.5, num_inference_steps = 1 }}

[[auth.keys]]
name = "alice"
key = {{ env = "ALICE_KEY" }}
"""


@pytest.fixture
def talkative(tmp_path: Path) -> Iterator[tuple[RunningServer, int, Receiver]]:
    """A server with a bucket and webhooks that logs whatever it can; the port of pictures; the receiver."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(ALL_LOGGERS)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "cat.png").write_bytes(media.png())
    (tmp_path / "web" / "cat.mp4").write_bytes(media.static_video(64, 16, 16))
    receiver = Receiver()
    with rclone_server(tmp_path / "bucket") as bucket, served_folder(tmp_path / "web") as port:
        running = RunningServer(
            tmp_path / "data",
            config=CONFIG.format(receiver=receiver.url, token=OPERATORS_TOKEN) + bucket.config,
            environ={
                **bucket.environ,
                "ALICE_KEY": KEY,
                "HOOK_SECRET": WEBHOOK_SECRET,
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")])
                ),
            },
            arguments=["--log-level", "debug"],
        )
        try:
            yield running.wait_until_ready(), port, receiver
        finally:
            running.terminate()
            running.process.wait(60)
            receiver.stop()


def send(server: RunningServer, method: str, path: str, **arguments: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {KEY}", "Cookie": f"session={COOKIE}"}
    return requests.request(
        method,
        server.url + path,
        headers={**headers, **arguments.pop("headers", {})},
        timeout=60,
        **arguments,
    )


def test_a_whole_run(talkative: tuple[RunningServer, int, Receiver]) -> None:
    server, port, receiver = talkative
    listener = Listener()
    query = f"X-Amz-Signature={SIGNATURE}&token={SIGNATURE}#{SIGNATURE}"
    good, film = (f"http://127.0.0.1:{port}/{name}?{query}" for name in ("cat.png", "cat.mp4"))
    bad = [
        f"http://127.0.0.1:{port}/none.png?{query}",
        f"http://127.0.0.1:1/x.png?{query}",
        f"http://10.0.0.1/x.png?{query}",
        f"http://no-such-host.invalid/x?{query}",
        f"http://alice:{PASSWORD}@127.0.0.1:{port}/cat.png",
        f"ftp://alice:{PASSWORD}@example.com/{SIGNATURE}?{query}",
        f"http://127.0.0.1:{listener.port}/x?{query}",
        f"http://[::1/{PASSWORD}?{query}",
    ]
    small = {"width": 64, "height": 64}
    video = send(
        server,
        "POST",
        "/v1/videos",
        json={"prompt": "x", "image_url": good, "webhook_url": f"{receiver.url}/own?token={SIGNATURE}"},
    )
    assert video.status_code == 200, video.text
    task = send(server, "POST", "/v1/tasks/image", json={"prompt": "x", "image_path": good, **small})
    assert task.status_code == 200, task.text
    sora = send(
        server, "POST", "/v1/images/transform", json={"prompt": "x", "image": good, "model": "tiny-image"}
    )
    assert sora.status_code == 200, sora.text
    chat = {
        "role": "user",
        "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": good}}],
    }
    assert (
        send(server, "POST", "/v1/chat/completions", json={"model": "small", "messages": [chat]}).status_code
        == 200
    )
    request = send(
        server,
        "POST",
        "/video/submit",
        json={"prompt": "A cat on a sofa", "model": "small", "image_url": good},
    )
    assert request.status_code == 202, request.text
    answer = send(server, "POST", "/v1/characters/create", json={"video": film, "stream": True})
    assert answer.status_code == 200, answer.text
    edit = {"prompt": "x", "model": "tiny-image", "images": [{"image_url": good}]}
    assert send(server, "POST", "/v1/images/edits", json=edit).status_code == 200
    put = f"http://127.0.0.1:{port}/upload?{query}"
    refused = send(
        server, "POST", "/v1/tasks/image/sync", json={"prompt": "x", "presigned_url": put, **small}
    )
    assert refused.status_code >= 400, refused.text
    for index, url in enumerate(bad):
        image = {"role": "user", "content": [{"type": "input_image", "image_url": url}]}
        routes: list[tuple[str, dict[str, Any]]] = [
            ("/predict", {"prompt": "x", "image_url": url}),
            ("/v1/videos", {"prompt": "x", "image_url": url}),
            ("/v1/tasks/image", {"prompt": "x", "image_path": url}),
            ("/v1/videos/transform", {"prompt": "x", "image": url}),
            ("/v1/responses", {"input": [image]}),
        ]
        for path, body in (routes[index % 5], routes[(index + 2) % 5]):
            failed = send(server, "POST", path, json=body)
            assert 400 <= failed.status_code < 500, failed.text
    for header in (f"Bearer {WRONG_KEY}", f"Basic {WRONG_KEY}", WRONG_KEY):
        denied = send(server, "GET", "/v1/videos", headers={"Authorization": header})
        assert denied.status_code == 401
        assert WRONG_KEY not in denied.text
    send(server, "GET", f"/v1/videos?api_key={KEY}&limit=x")
    send(server, "GET", "/v1/videos", headers={"X-Api-Key": WRONG_KEY, "X-Request-ID": "a b"})
    eventually(
        lambda: send(server, "GET", f"/v1/videos/{video.json()['id']}").json()["status"] == "completed",
        what="the video",
    )
    assert send(server, "GET", f"/v1/videos/{video.json()['id']}/content").status_code == 200
    eventually(lambda: len(receiver.received) >= 2, what="the webhooks")
    eventually(
        lambda: send(server, "GET", f"/v1/tasks/{task.json()['task_id']}/status").json()["file_path"],
        what="the task",
    )
    listener.close()
    server.terminate()
    assert server.process.wait(60) == 0
    log = server.log_text()
    assert '"level": "debug"' in log  # it did log whatever it could
    logged = Counter(line.get("logger") for line in server.log_lines())
    assert logged.keys() >= LOGGERS
    assert logged["framegate.server.request_log"] > 30
    found = {
        name: line[:500] for name, secret in SECRETS.items() for line in log.splitlines() if secret in line
    }
    assert not found


@pytest.mark.parametrize("command", ["doctor", "jobs list"])
def test_a_queue_that_is_not_there(tmp_path: Path, command: str) -> None:
    (tmp_path / "framegate.toml").write_text(f'[queue]\nurl = "redis://alice:{PASSWORD}@127.0.0.1:1/0"\n')
    done = framegate(*command.split(), "--config", tmp_path / "framegate.toml", data_dir=tmp_path / "data")
    assert done.returncode != 0
    assert "queue can't be reached" in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_a_wrong_key_in_the_config(start_server: StartServer) -> None:
    """What can't be a key is not printed either."""
    running = start_server(
        ready=None,
        config='[[auth.keys]]\nname = "alice"\nkey = "' + KEY + '"\n',
    )
    assert running.process.wait(60) != 0
    assert "auth.keys" in running.log_text()
    assert KEY not in running.log_text()
