"""The blocks of lightx2v.md, as printed."""

import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from tests.support.code_blocks import CodeBlock, Document
from tests.support.decoding import decoded
from tests.support.printed_answers import mismatches, parse_printed
from tests.support.running import RunningServer, eventually
from tests.support.shell import Shell, needs_tools

DOCUMENT = Document(Path(__file__).parent / "published" / "lightx2v.md")
PRINTED_HOST = "http://115.190.78.40:30155"
STATES = {"submitted", "running", "succeed", "failed"}


def send(server: RunningServer, printed: str) -> tuple[int, str, bytes]:
    """Send a printed request; return status, content type and body."""
    head, _, body = printed.strip().partition("\n\n")
    request_line, *lines = head.splitlines()
    method, path = request_line.split()
    headers = dict(line.split(": ", 1) for line in lines)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.request(method, path, body.encode() or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def sent_json(server: RunningServer, printed: str) -> Any:
    status, content_type, body = send(server, printed)
    assert (status, content_type) == (200, "application/json"), body
    return json.loads(body)


def finished(server: RunningServer, task_id: str) -> list[dict[str, Any]]:
    """Poll a task to its end; return all its states."""
    states: list[dict[str, Any]] = []

    def ended() -> bool:
        states.append(requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=60).json())
        return states[-1]["status"] in ("succeed", "failed")

    eventually(ended, what="the end of the task")
    assert states[-1]["status"] == "succeed", states[-1]
    return states


def video_of(server: RunningServer, task_id: str) -> bytes:
    finished(server, task_id)
    return requests.get(f"{server.url}/v1/tasks/{task_id}/result", timeout=60).content


def with_image(block: CodeBlock, server: RunningServer, photo: Path) -> str:
    """Return the block's text with the server's host, an image on the server and one of the client's own."""
    return block.replaced(
        {
            PRINTED_HOST: server.url,
            "/path/to/input_image.jpg": str(server.data_dir / "inputs" / "input_image.jpg"),
            "/local/path/to/image.jpg": str(photo),
        }
    )


@DOCUMENT.together(1, 3, 5, 6, 7, 8, 9)
def test_submit_poll_and_download(document_server: RunningServer, blocks: list[CodeBlock]) -> None:
    submit, submitted, status, state, result, download, download_example = blocks
    answer = sent_json(document_server, submit.text)
    expected = parse_printed(submitted.text)
    assert mismatches(expected, answer) == []
    assert (answer["status"], answer["message"]) == (expected["status"], expected["message"])
    task_id = answer["task_id"]

    states = finished(document_server, task_id)
    states.append(sent_json(document_server, status.replaced({"{task_id}": task_id})))
    expected = parse_printed(state.text)
    assert [problem for found in states for problem in mismatches(expected, found)] == []
    assert {found["status"] for found in states} <= STATES
    progress = [found["progress"] for found in states]
    assert progress == sorted(progress)
    assert (progress[0] >= 0.0, progress[-1]) == (True, 1.0)
    [running] = {found["message"] for found in states if found["status"] == expected["status"]}
    assert running == expected["message"]

    files = [
        send(document_server, printed)
        for printed in (
            result.replaced({"{task_id}": task_id}),
            download.replaced({"{file_path}": states[-1]["file_path"]}),
            download_example.replaced({"abc123": task_id}),
        )
    ]
    assert [file[:2] for file in files] == [(200, "video/mp4")] * 3
    assert files[0][2] == files[1][2] == files[2][2]
    assert decoded(files[0][2]) == (832, 480, 80, 16.0)


@DOCUMENT.each(2)
def test_image_to_video(document_server: RunningServer, block: CodeBlock, photo: Path) -> None:
    answer = sent_json(document_server, with_image(block, document_server, photo))
    assert decoded(video_of(document_server, answer["task_id"])) == (832, 480, 80, 16.0)


@DOCUMENT.each(4)
def test_the_form(document_server: RunningServer, block: CodeBlock, photo: Path) -> None:
    head, fields = block.text.split("Fields:\n")
    [method, path] = head.splitlines()[0].split()
    values = dict(re.findall(r"^  (\w+): ([^#\n]+?) *(?:#.*)?$", fields, re.MULTILINE))
    assert values.pop("image_file") == "<binary file>"
    assert values.keys() == {
        *("prompt", "negative_prompt", "infer_steps", "video_duration", "seed", "height", "width")
    }
    with photo.open("rb") as image:
        answer = requests.request(
            method,
            document_server.url + path,
            data={name: value.strip('"') for name, value in values.items()},
            files={"image_file": image},
            timeout=60,
        )
    assert answer.status_code == 200, answer.text
    assert decoded(video_of(document_server, answer.json()["task_id"])) == (832, 480, 80, 16.0)


@needs_tools
@DOCUMENT.each(10)
def test_the_whole_flow(document_server: RunningServer, shell: Shell, block: CodeBlock) -> None:
    submit, status, download = re.split(r"^# \d\..*\n", block.text, flags=re.MULTILINE)[1:]
    [comment] = re.findall(r"^# .*?: (\{.*\})$", submit, re.MULTILINE)

    def run(command: str, task_id: str = "") -> str:
        return shell.bash(command.replace(PRINTED_HOST, document_server.url).replace("abc123", task_id))

    answer = json.loads(run(submit))
    expected = json.loads(comment)
    assert mismatches(expected, answer) == []
    assert answer["status"] == expected["status"]
    eventually(
        lambda: json.loads(run(status, answer["task_id"]))["status"] == "succeed", what="the end of the task"
    )
    run(download, answer["task_id"])
    assert decoded((shell.folder / "output.mp4").read_bytes()) == (832, 480, 80, 16.0)


@needs_tools
@DOCUMENT.each(11)
def test_both_ways_to_give_an_image(
    document_server: RunningServer, shell: Shell, block: CodeBlock, photo: Path
) -> None:
    output = shell.bash(with_image(block, document_server, photo))
    task_ids = re.findall(r'"task_id":"([^"]+)"', output)
    by_path, by_form = (video_of(document_server, task_id) for task_id in task_ids)
    assert decoded(by_path) == (832, 480, 80, 16.0)
    assert by_path == by_form, "the same image, prompt and seed"
