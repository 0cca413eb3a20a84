"""Clients from PyPI that build on OpenAI's API, each in a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.running import RunningServer

LINK = "Generated Video URL: http://127.0.0.1"


def found_by(program: str, server: RunningServer) -> dict[str, Any]:
    """Run a program that leaves what it finds in ``found``; ``base`` is the API's base URL."""
    lines = ["import json, sys", "base, found = sys.argv[1], {}", program, "print(json.dumps(found))"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), f"{server.url}/v1"],
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_litellm(small_server: RunningServer) -> None:
    found = found_by(
        """
import base64
import litellm
client = {"api_base": base, "api_key": "none"}
messages = [{"role": "user", "content": "a boat"}]
chat = {"model": "openai/small-chat", "messages": messages, **client}
found["text"] = litellm.completion(**chat).choices[0].message.content
parts = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(stream=True, **chat)]
found["streamed"] = "".join(parts)
image = litellm.image_generation(prompt="a boat", model="openai/gpt-image-1", size="128x96", **client)
found["image"] = base64.b64decode(image.data[0].b64_json)[1:4].decode()
try:
    litellm.completion(**{**chat, "model": "openai/none"})
except litellm.NotFoundError as error:
    found["error"] = error.status_code
""",
        small_server,
    )
    assert LINK in found["text"]
    assert LINK in found["streamed"]
    assert found["image"] == "PNG"
    assert found["error"] == 404


def test_langchain(small_server: RunningServer) -> None:
    found = found_by(
        """
from langchain_openai import ChatOpenAI
chat = ChatOpenAI(model="small-chat", base_url=base, api_key="none", max_retries=0)
answer = chat.invoke("a boat")
found["text"] = answer.content
found["usage"] = answer.usage_metadata
found["streamed"] = "".join(chunk.content for chunk in chat.stream("a boat"))
whole, counting = None, ChatOpenAI(model="small-chat", base_url=base, api_key="none", stream_usage=True)
for chunk in counting.stream("a boat"):
    whole = chunk if whole is None else whole + chunk
found["streamed_usage"] = whole.usage_metadata
""",
        small_server,
    )
    assert LINK in found["text"]
    assert LINK in found["streamed"]
    assert found["usage"]["total_tokens"] == found["streamed_usage"]["total_tokens"] == 0
