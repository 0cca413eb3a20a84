"""Clients from npm under Node.js, which nobody has written for this server."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import RunningServer

SCRIPTS = Path(__file__).parent / "javascript"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not (SCRIPTS / "node_modules").exists(),
    reason="needs Node.js, and the packages that `make install` gets with npm",
)


def found_by(script: str, *arguments: object) -> dict[str, Any]:
    """Run a script, and return what it prints."""
    assert NODE is not None
    done = subprocess.run(
        [NODE, SCRIPTS / script, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_openai_sdk(small_server: RunningServer, photo: Path) -> None:
    found = found_by("openai_sdk.mjs", small_server.url, photo)
    assert found["video"] == {"status": "completed", "size": "128x96", "kind": "ftyp"}
    assert found["listed"] == [True]
    assert found["images"] == ["PNG", "PNG"]
    link = "Successfully generated video for: a boat\n\nGenerated Video URL: http://127.0.0.1"
    assert found["completion"].startswith(link)
    assert found["streamed"].startswith(link)
    *earlier, last = found["usage"]
    assert set(earlier) == {None}
    assert last.keys() >= {"prompt_tokens", "completion_tokens", "total_tokens"}
    status, outputs, _ = found["response"]
    assert status == "completed"
    assert "image_generation_call" in outputs
    assert found["events"][0] == "response.created"
    assert found["events"][-1] == "response.completed"
    assert found["error"] == ["NotFoundError", 404, "model_not_found", "model"]


def test_ai_sdk(small_server: RunningServer) -> None:
    found = found_by("ai_sdk.mjs", small_server.url)
    assert found["image"] == "PNG"
    text, reason = found["text"]
    assert "Generated Video URL: http://127.0.0.1" in text
    assert reason == "stop"
    assert "Generated Video URL: http://127.0.0.1" in found["streamed"]
    assert found["reason"] == "stop"
    assert found["drawn"] == "PNG"
    name, status, message = found["error"]
    assert (name, status) == ("AI_APICallError", 404)
    assert "'none' does not exist" in message


def test_forms(small_server: RunningServer, photo: Path) -> None:
    found = found_by("form_data.mjs", small_server.url, photo)
    for kind in ("stream", "typed", "named"):
        status, body = found[kind]
        assert (status, body.get("status")) == (200, "submitted"), found[kind]
    assert found["own"] == [200, "128x96"]
