"""A whole server as docs/hardening.md describes it: signed links, an audit log, a user of Valkey."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from tests.support.code_blocks import code_blocks
from tests.support.external_valkey import ExternalValkey
from tests.support.running import RunningServer, eventually, framegate
from tests.support.tasks import submit

StartServer = Callable[..., RunningServer]
KEY = "a-key-of-many-letters"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PASSWORD = "a-long-password"
CONFIG = """
[queue]
url = "redis://framegate:a-long-password@127.0.0.1:{port}/0"
[links]
expiry = "1h"
[[auth.keys]]
name = "alice"
key = {{ env = "ALICE_KEY" }}
[dialects.lightx2v]
auth = false
[audit]
file = "{file}"
[aliases.tiny]
model = "gpt-image"
defaults = {{ width = 64, height = 64, num_inference_steps = 1 }}
"""


@pytest.fixture
def external_valkey(tmp_path: Path) -> Iterator[ExternalValkey]:
    """A Valkey with the user that the page prints, and no other."""
    [rule] = [
        block.text.split()
        for block in code_blocks(Path(__file__).parents[2] / "docs" / "hardening.md")
        if block.text.startswith("user ")
    ]
    assert rule[:2] == ["user", "framegate"]
    valkey = ExternalValkey(tmp_path / "valkey")
    with redis.Redis.from_url(valkey.url) as operator:
        operator.execute_command("ACL", "SETUSER", *rule[1:], f">{PASSWORD}")
        operator.execute_command("ACL", "SETUSER", "default", "off")
    yield valkey
    valkey.kill()


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_signed_links_and_the_audit_log(
    external_valkey: ExternalValkey, start_server: StartServer, tmp_path: Path
) -> None:
    file = tmp_path / "audit.log"
    environ = {"ALICE_KEY": KEY}
    config = CONFIG.format(file=file, port=external_valkey.port)
    server = start_server(config=config, environ=environ)
    body = {"model": "tiny", "prompt": "x", "async_mode": True}
    made = requests.post(f"{server.url}/v1/images/generate", json=body, headers=HEADERS, timeout=60).json()
    url = f"{server.url}/v1/tasks/{made['task_id']}"

    def links() -> list[str] | None:
        state: dict[str, Any] = requests.get(url, headers=HEADERS, timeout=60).json()
        found: list[str] | None = state["result_urls"]
        return found

    [link] = eventually(links, what="the image")
    image = requests.get(link, timeout=60)
    assert image.content.startswith(b"\x89PNG")
    assert requests.get(link.partition("?")[0], timeout=60).status_code == 403

    # It takes longer than this test; the operator stops it.
    slow = submit(server, "x", video_duration=10, width=832, height=480)
    stopped = framegate(
        "jobs", "cancel", slow, "--config", server.config, data_dir=server.data_dir, environ=environ
    )
    assert stopped.returncode == 0, stopped.stderr

    lines = lines_of(file)
    job = made["task_id"].removeprefix("task_")
    [download] = [line for line in lines if line["event"] == "result_downloaded"]
    assert download.pop("timestamp").endswith("Z")
    assert len(download.pop("request_id")) == 32
    assert download == {
        "event": "result_downloaded",
        "level": "info",
        "logger": "framegate.audit",
        "actor": "client",
        "client": "anonymous",
        "address": "127.0.0.1",
        "job_id": job,
        "file": f"{job}_1.png",
        "delivery": "file",
        "status": 200,
        "bytes": len(image.content),
        "link_expires": int(link.partition("expires=")[2].partition("&")[0]),
    }
    [cancelled] = [line for line in lines if line["event"] == "job_cancelled"]
    assert (cancelled["actor"], cancelled["job_id"]) == ("operator", slow)
    assert file.stat().st_mode & 0o777 == 0o600
    for text in (file.read_text(), server.log_text()):
        assert "signature" not in text
        assert link.rpartition("=")[2] not in text
        assert KEY not in text
        assert PASSWORD not in text
    assert "framegate.audit" not in server.log_text()


def test_a_server_that_can_not_write_its_audit_log_does_not_start(tmp_path: Path) -> None:
    config = tmp_path / "framegate.toml"
    config.write_text(f'[audit]\nfile = "{tmp_path}/missing/audit.log"\n')
    refused = framegate("serve", "--port", "0", "--config", config, data_dir=tmp_path / "data")
    assert refused.returncode == 1
    assert f"framegate.toml:2: audit.file: there is no folder {tmp_path}/missing." in refused.stderr
    assert "Traceback" not in refused.stderr
