"""What tests of lightx2v say and hear."""

from typing import Any

import requests

from tests.support.http_stand import Stand


def submit(stand: Stand, path: str = "/v1/tasks/video", **fields: Any) -> dict[str, Any]:
    answer = requests.post(stand.url + path, json={"prompt": "a boat", **fields}, timeout=10)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def status(stand: Stand, task_id: str) -> dict[str, Any]:
    answer = requests.get(f"{stand.url}/v1/tasks/{task_id}/status", timeout=10)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refusal(stand: Stand, path: str = "/v1/tasks/video", **fields: Any) -> list[dict[str, Any]]:
    answer = requests.post(stand.url + path, json={"prompt": "a boat", **fields}, timeout=10)
    assert answer.status_code == 422, answer.text
    detail: list[dict[str, Any]] = answer.json()["detail"]
    assert all(item.keys() == {"type", "loc", "msg", "input"} for item in detail)
    return detail
