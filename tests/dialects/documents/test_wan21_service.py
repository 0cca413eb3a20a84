"""The blocks of wan21-service.md, as printed."""

import json
import re
from pathlib import Path
from typing import Any

import requests

from tests.support.code_blocks import CodeBlock, Document
from tests.support.decoding import decoded
from tests.support.printed_answers import mismatches
from tests.support.running import RunningServer, eventually

DOCUMENT = Document(Path(__file__).parent / "published" / "wan21-service.md")
PRINTED_ID = "a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6"
SIZE = (768, 512)
"""The photograph's aspect ratio, at the largest area that the document allows."""


def post(server: RunningServer, path: str, body: str, headers: dict[str, str]) -> requests.Response:
    return requests.post(server.url + path, data=body.encode(), headers=headers, timeout=60)


def result_of(server: RunningServer, body: str, headers: dict[str, str]) -> dict[str, Any]:
    """Poll with a printed body until the request has ended; return the last answer."""

    def ended() -> dict[str, Any] | None:
        answer = post(server, "/video/status", body, headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return None if found["status"] in ("InQueue", "InProgress") else found

    return eventually(ended, what="the end of the request")


@DOCUMENT.together(1, 2, 3, 4, 5, 6, 7, 8)
def test_submit_poll_and_cancel(
    document_server: RunningServer, pictures: str, blocks: list[CodeBlock]
) -> None:
    submit, submitted, status, state, cancel, cancelled, header, short = blocks
    headers = dict(line.split(": ", 1) for line in header.text.strip().splitlines())
    images = {f"https://example.com/{name}.jpg": f"{pictures}/photo.jpg" for name in ("input", "mountain")}

    def submit_printed(block: CodeBlock) -> str:
        answer = post(document_server, "/video/submit", block.replaced(images), headers)
        assert answer.status_code == 202, answer.text
        assert mismatches(json.loads(submitted.text), answer.json()) == []
        request_id: str = answer.json()["requestId"]
        assert re.fullmatch(r"[0-9a-f]{32}", request_id)
        assert len(request_id) == len(PRINTED_ID)
        return request_id

    first, second, third = submit_printed(submit), submit_printed(short), submit_printed(submit)
    answer = post(document_server, "/video/cancel", cancel.replaced({PRINTED_ID: third}), headers)
    assert (answer.status_code, answer.json()) == (200, json.loads(cancelled.text))

    for request_id, frames in ((first, 81), (second, 49)):
        found = result_of(document_server, status.replaced({PRINTED_ID: request_id}), headers)
        expected = json.loads(state.text)
        assert mismatches(expected, found) == []
        assert found["status"] == expected["status"]
        [video] = found["results"]["videos"]
        assert re.fullmatch(rf"{document_server.url}/videos/\w+\.mp4", video["url"])
        assert decoded(requests.get(video["url"], timeout=60).content)[:3] == (*SIZE, frames)
    ended = result_of(document_server, status.replaced({PRINTED_ID: third}), headers)
    assert ended["status"] == "Cancelled"
