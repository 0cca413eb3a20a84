"""The blocks of sora2api.md, as printed."""

import base64
import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.code_blocks import CodeBlock, Document
from tests.support.decoding import decoded
from tests.support.http_stand import start_stand
from tests.support.printed_answers import mismatches, parse_printed
from tests.support.running import RunningServer, eventually
from tests.support.shell import Shell, needs_tools

DOCUMENT = Document(Path(__file__).parent / "published" / "sora2api.md")
PRINTED_HOST = "http://localhost:8000"
KEY = {"Authorization": "Bearer han1234"}
SIZE = (128, 96)


def post(server: RunningServer, path: str, body: Any, **headers: str) -> requests.Response:
    return requests.post(server.url + path, json=body, headers={**KEY, **headers}, timeout=120)


def task_of(server: RunningServer, **fields: Any) -> dict[str, Any]:
    """Return a task that has ended well."""
    submitted = post(server, "/v1/videos/generate", {"async_mode": True, **fields})
    assert submitted.status_code == 200, submitted.text
    url = f"{server.url}/v1/tasks/{submitted.json()['task_id']}"

    def ended() -> dict[str, Any] | None:
        state: dict[str, Any] = requests.get(url, headers=KEY, timeout=60).json()
        return None if state["status"] == "processing" else state

    task = eventually(ended, what="the end of the task")
    assert task["status"] == "completed", task
    return task


@pytest.fixture(scope="module")
def task(document_server: RunningServer) -> dict[str, Any]:
    return task_of(document_server, prompt="a boat", model="sora2-landscape-10s")


@pytest.fixture(scope="module")
def video(document_server: RunningServer) -> bytes:
    """A video that fits into a command line as base64."""
    [link] = task_of(document_server, prompt="a boat", model="brief")["result_urls"]
    return requests.get(link, timeout=60).content


def streamed(output: str) -> list[dict[str, Any]]:
    """Return the chunks of a stream as a client received it."""
    *chunks, done = (line.removeprefix("data: ") for line in output.splitlines() if line)
    assert done == "[DONE]"
    return [json.loads(chunk) for chunk in chunks]


def content_of(chunks: list[dict[str, Any]]) -> str:
    """Return the answer of a stream that has not failed."""
    assert not any("error" in chunk for chunk in chunks), chunks
    return "".join(chunk["choices"][0]["delta"]["content"] or "" for chunk in chunks)


def progress_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(chunk["choices"][0]["delta"]["reasoning_content"] or "" for chunk in chunks)


def linked(content: str) -> bytes:
    [link] = re.findall(r"http://[^'\")]+", content)
    file = requests.get(link, timeout=60)
    assert file.status_code == 200, file.text
    return file.content


@DOCUMENT.each(1)
def test_the_header(document_server: RunningServer, block: CodeBlock) -> None:
    headers = dict([block.text.strip().split(": ", 1)])
    url = f"{document_server.url}/v1/models"
    assert requests.get(url, headers=headers, timeout=60).status_code == 200
    assert requests.get(url, timeout=60).status_code == 401


@needs_tools
@DOCUMENT.each(2, 4)
def test_images_by_curl(
    document_server: RunningServer, shell: Shell, block: CodeBlock, small_png: Path
) -> None:
    image = base64.b64encode(small_png.read_bytes()).decode()
    output = shell.bash(block.replaced({PRINTED_HOST: document_server.url, "iVBORw0KGgoAAAANS...": image}))
    assert linked(content_of(streamed(output))).startswith(b"\x89PNG")


@needs_tools
@DOCUMENT.each(6, 7, 8)
def test_videos_by_curl(
    document_server: RunningServer, shell: Shell, block: CodeBlock, small_png: Path, task: dict[str, Any]
) -> None:
    output = shell.bash(
        block.replaced(
            {
                PRINTED_HOST: document_server.url,
                "iVBORw0KGgoAAAANS...": base64.b64encode(small_png.read_bytes()).decode(),
                "s_68e3a06dcd888191b150971da152c1f5": task["remix_target_id"],
            }
        )
    )
    assert decoded(linked(content_of(streamed(output)))) == (*SIZE, 300, 30.0)


@needs_tools
@DOCUMENT.together(9, 10, 11)
def test_storyboards(document_server: RunningServer, shell: Shell, blocks: list[CodeBlock]) -> None:
    """The command, and both formats of the prompt."""
    *prompts, command = blocks
    chunks = streamed(shell.bash(command.replaced({PRINTED_HOST: document_server.url})))
    assert re.search(r"\(shot [123] of 3\)", progress_of(chunks))
    assert decoded(linked(content_of(chunks))) == (*SIZE, 600, 30.0)
    for prompt in prompts:
        answer = post(document_server, "/v1/videos/storyboard", {"prompt": prompt.text})
        assert answer.status_code == 200, answer.text
        content = answer.json()["choices"][0]["message"]["content"]
        assert decoded(linked(content)) == (*SIZE, 600, 30.0)


@needs_tools
@DOCUMENT.together(16, 18)
def test_characters_by_curl(
    document_server: RunningServer, shell: Shell, blocks: list[CodeBlock], video: bytes
) -> None:
    command, printed = blocks
    data = base64.b64encode(video).decode()
    chunks = streamed(
        shell.bash(command.replaced({PRINTED_HOST: document_server.url, "AAAAIGZ0eXBpc29t...": data}))
    )
    # Some of the printed characters could not be repaired.
    recognised, created = (
        re.escape(line).replace("\N{REPLACEMENT CHARACTER}", ".{1,2}") for line in printed.text.splitlines()
    )
    name = r"(\\w+\\d{3})"
    recognised = re.sub(r"Character\\ Name", ".+", re.sub("username123", name, recognised))
    match = re.search(recognised, progress_of(chunks))
    assert match, progress_of(chunks)
    assert re.fullmatch(re.sub("username123", match[1], created), content_of(chunks))


@needs_tools
@DOCUMENT.each(19)
def test_a_character_in_a_video_by_curl(
    document_server: RunningServer, shell: Shell, block: CodeBlock, video: bytes
) -> None:
    data = base64.b64encode(video).decode()
    output = shell.bash(block.replaced({PRINTED_HOST: document_server.url, "AAAAIGZ0eXBpc29t...": data}))
    assert decoded(linked(content_of(streamed(output)))) == (*SIZE, 300, 30.0)


@DOCUMENT.each(3, 5, 17, 20)
def test_streams_by_python(
    document_server: RunningServer, shell: Shell, block: CodeBlock, photo: Path, video: bytes
) -> None:
    (shell.folder / "image.png").write_bytes(photo.read_bytes())
    (shell.folder / "video.mp4").write_bytes(video)
    chunks = streamed(shell.python(block.replaced({PRINTED_HOST: document_server.url})))
    assert "@" in content_of(chunks) or linked(content_of(chunks))


@needs_tools
@DOCUMENT.together(12, 13)
def test_a_task(
    document_server: RunningServer, shell: Shell, blocks: list[CodeBlock], task: dict[str, Any]
) -> None:
    printed, command = blocks
    expected = parse_printed(printed.text)

    def state(task_id: str) -> dict[str, Any]:
        output = shell.bash(command.replaced({PRINTED_HOST: document_server.url, "task_xxx": task_id}))
        return dict(json.loads(output))

    submitted = post(document_server, "/v1/videos/generate", {"prompt": "a boat", "async_mode": True})
    running = state(submitted.json()["task_id"])
    for field in ("status", "model", "error_message", "completed_at"):
        assert running[field] == expected[field]
    found = state(task["task_id"])
    # Printed as null, since that task still runs.
    expected["completed_at"] = expected["created_at"]
    assert mismatches(expected, found) == []
    for time in ("created_at", "completed_at"):
        assert re.fullmatch(re.sub(r"\d", r"\\d", expected[time]), found[time])
    assert found["progress"] == 100.0
    assert found["model"] == expected["model"]


@DOCUMENT.each(14)
def test_polling_by_python(
    document_server: RunningServer, shell: Shell, block: CodeBlock, task: dict[str, Any]
) -> None:
    output = shell.python(block.replaced({PRINTED_HOST: document_server.url, "task_xxx": task["task_id"]}))
    assert "completed" in output
    assert str(task["result_urls"]) in output


@DOCUMENT.each(15)
def test_the_asynchronous_mode_by_python(
    document_server: RunningServer, shell: Shell, block: CodeBlock
) -> None:
    output = shell.python(block.replaced({PRINTED_HOST: document_server.url}))
    [link] = re.findall(r"\['(http://[^']+)'\]", output)
    assert decoded(linked(link)) == (*SIZE, 300, 30.0)


@DOCUMENT.each(29)
def test_the_complete_program(
    document_server: RunningServer, shell: Shell, block: CodeBlock, photo: Path
) -> None:
    """Its branch for `[DONE]` is never reached: as printed it stops there, after the first image."""
    (shell.folder / "input.png").write_bytes(photo.read_bytes())
    program = block.replaced({PRINTED_HOST: document_server.url})
    with pytest.raises(
        AssertionError, match=r"JSONDecodeError(.|\n)*!\[Generated Image\]\(http://127\S+\.png\)"
    ):
        shell.python(program)
    first_branch, done_branch = 'if data.startswith("data: "):', 'elif data == "data: [DONE]":'
    assert program.count(first_branch) == program.count(done_branch) == 3
    meant = program.replace(first_branch, f'{first_branch[:-1]} and data != "data: [DONE]":')
    output = shell.python(meant)
    [*images, video] = re.findall(r"http://127[^'\")]+", output)
    assert [linked(image)[:4] for image in images] == [b"\x89PNG"] * 2
    assert decoded(linked(video)) == (*SIZE, 300, 30.0)


@DOCUMENT.together(21, 22)
def test_the_style_and_the_stream(document_server: RunningServer, blocks: list[CodeBlock]) -> None:
    request, printed = blocks
    answer = post(document_server, "/v1/videos/generate", json.loads(request.text))
    assert answer.status_code == 200, answer.text
    lines = answer.content.decode().splitlines(keepends=True)
    chunk, other, done = (
        re.escape(event).replace("xxx", r'[^"]+').replace(r"\.\.\.", ".*")
        for event in printed.text.strip().split("\n\n")
    )
    assert chunk == other
    assert "".join(lines[1::2]) == "\n" * (len(lines) // 2)
    assert all(re.fullmatch(chunk, line.rstrip("\n")) for line in lines[:-2:2])
    assert re.fullmatch(done, lines[-2].rstrip("\n"))


@DOCUMENT.each(23)
def test_an_answer_without_a_stream(document_server: RunningServer, block: CodeBlock) -> None:
    answer = post(document_server, "/v1/images/generate", {"prompt": "a boat", "stream": False}).json()
    expected = json.loads(block.text)
    assert mismatches(expected, answer) == []
    assert answer["object"] == expected["object"]
    [choice], [printed] = answer["choices"], expected["choices"]
    link = re.escape(printed["message"]["content"]).replace(
        r"http://example\.com/image\.png", r"http://\S+\.png"
    )
    assert re.fullmatch(link, choice["message"].pop("content"))
    del printed["message"]["content"]
    assert choice.items() >= printed.items()


@DOCUMENT.together(24, 25, 26, 27)
def test_errors(document_server: RunningServer, blocks: list[CodeBlock]) -> None:
    general, *printed = (json.loads(block.text) for block in blocks)
    answers = [
        post(document_server, "/v1/videos/generate", {"prompt": "a boat", "model": "invalid-model"}),
        post(document_server, "/v1/videos/generate", {}),
        post(document_server, "/v1/videos/generate", {"prompt": "a boat"}, Authorization="Bearer wrong"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 401]
    assert [answer.json() for answer in answers] == printed
    assert all(body["error"].keys() == general["error"].keys() for body in printed)


@DOCUMENT.each(28)
def test_no_worker(tmp_path: Path, block: CodeBlock) -> None:
    with ExitStack() as running:
        stand = start_stand(running, tmp_path)
        stand.store.living.clear()
        answer = requests.post(f"{stand.url}/v1/videos/generate", json={"prompt": "a boat"}, timeout=60)
    assert answer.status_code == 503
    assert answer.json() == json.loads(block.text)
