"""Call sora2api, and read what it answers."""

from typing import Any

import requests

from tests.support.http_stand import Stand
from tests.support.openai_types import check_completion, check_error

PICTURE = "https://example.com/cat.png"
VIDEO = "https://example.com/cat.mp4"
UNKNOWN = "s_" + "0" * 32


def post(stand: Stand, path: str, key: str = "", **fields: Any) -> requests.Response:
    """Post JSON to a path below ``/v1``."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.post(f"{stand.url}/v1/{path}", json=fields, headers=headers, timeout=20, stream=True)


def chat(stand: Stand, model: str, content: Any, **fields: Any) -> requests.Response:
    """Send a chat with one message."""
    messages = [{"role": "user", "content": content}]
    return post(stand, "chat/completions", model=model, messages=messages, **fields)


def content_of(answer: requests.Response) -> str:
    """Return what a completion says."""
    assert answer.status_code == 200, answer.text
    [choice] = check_completion(answer.json()).choices
    return str(choice.message.content)


def refused(answer: requests.Response, status: int, param: str | None, message: str = "") -> dict[str, Any]:
    """Check that a call was refused, and return its error."""
    error = check_error(answer.json())
    assert (answer.status_code, error["param"]) == (status, param), error
    assert message in error["message"]
    return error
