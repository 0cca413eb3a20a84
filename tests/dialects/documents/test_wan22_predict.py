"""The blocks of wan22-predict.md, as printed."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.browser import needs_chromium, open_page
from tests.support.code_blocks import CodeBlock, Document
from tests.support.decoding import decoded
from tests.support.printed_answers import mismatches
from tests.support.running import RunningServer
from tests.support.shell import Shell, needs_tools
from tests.support.web_folder import served_folder

DOCUMENT = Document(Path(__file__).parent / "published" / "wan22-predict.md")
PRINTED_HOST = "https://api.aws.us-east-1.cerebrium.ai"
PREFIX = "/v4/p-194bc83f/wan22-ti2v"
HOME = (1280, 704, 121, 24.0)
SMALL: dict[str, Any] = {"prompt": "a boat", "width": 128, "height": 96, "num_frames": 25, "seed": 1}


_OURS = "The file is not published; test_wan22_predict.py runs ours, docs/examples/predict.py"
DOCUMENT.not_applicable(1, f"A variable for the script. {_OURS}.")
DOCUMENT.not_applicable(2, _OURS)
DOCUMENT.not_applicable(3, "Its index.html is not published; the JavaScript block is opened in both ways.")
DOCUMENT.not_applicable(12, "The deployment at the origin's provider; docker/ has ours.")


def predict(server: RunningServer, *, headers: dict[str, str], **fields: Any) -> requests.Response:
    return requests.post(
        f"{server.url}{PREFIX}/predict", json={**SMALL, **fields}, headers=headers, timeout=120
    )


@needs_tools
@DOCUMENT.together(5, 6)
def test_text_to_video(document_server: RunningServer, shell: Shell, blocks: list[CodeBlock]) -> None:
    command, printed = blocks
    answer = json.loads(shell.bash(command.replaced({PRINTED_HOST: document_server.url})))
    expected = json.loads(printed.text)
    assert mismatches(expected, answer) == []
    assert answer["details"] == expected["details"]
    assert decoded(base64.b64decode(answer["video_base64"])) == HOME


@needs_tools
@DOCUMENT.each(7)
def test_text_and_image_to_video(
    document_server: RunningServer, shell: Shell, block: CodeBlock, pictures: str
) -> None:
    links = {
        PRINTED_HOST: document_server.url,
        "https://example.com/image.jpg": f"{pictures}/photo.jpg",
    }
    answer = json.loads(shell.bash(block.replaced(links)))
    assert decoded(base64.b64decode(answer["video_base64"])) == HOME


@DOCUMENT.each(8)
def test_the_program(document_server: RunningServer, shell: Shell, block: CodeBlock) -> None:
    output = shell.python(block.replaced({PRINTED_HOST: document_server.url}))
    assert "Video saved to output.mp4" in output
    assert decoded((shell.folder / "output.mp4").read_bytes()) == HOME


@DOCUMENT.together(4, 9)
def test_the_header_and_saving(document_server: RunningServer, shell: Shell, blocks: list[CodeBlock]) -> None:
    header, saving = blocks
    headers = dict(line.split(": ", 1) for line in header.text.strip().splitlines())
    answer = predict(document_server, headers=headers)
    assert answer.status_code == 200, answer.text
    (shell.folder / "answer.json").write_bytes(answer.content)
    shell.python(f"import json\n\nresult = json.load(open('answer.json'))\n{saving.text}")
    assert decoded((shell.folder / "generated_video.mp4").read_bytes())[:3] == (128, 96, 25)


@pytest.fixture
def page_server(tmp_path: Path) -> Iterator[str]:
    """The URL at which the test's folder is served: another local origin, as by `python3 -m http.server`."""
    with served_folder(tmp_path) as port:
        yield f"http://localhost:{port}"


@needs_chromium
@DOCUMENT.each(10)
@pytest.mark.parametrize("opened", ["from another origin", "from a file"])
async def test_the_page_s_script(
    document_server: RunningServer, page_server: str, tmp_path: Path, block: CodeBlock, opened: str
) -> None:
    script = block.replaced({PRINTED_HOST: document_server.url})
    page_file = tmp_path / "index.html"
    head = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
    page_file.write_text(f'{head}<video id="video"></video><script>{script}</script>', encoding="utf-8")
    url = page_file.as_uri() if opened == "from a file" else f"{page_server}/index.html"
    async with open_page(url, tmp_path / "profile") as page:
        assert await page.until("document.getElementById('video').videoWidth") == HOME[0]
        assert await page.evaluate("document.getElementById('video').videoHeight") == HOME[1]
        assert await page.evaluate("document.getElementById('video').duration") == pytest.approx(
            HOME[2] / HOME[3], abs=0.05
        )
        assert page.problems == []


@DOCUMENT.each(11)
def test_errors(document_server: RunningServer, block: CodeBlock) -> None:
    headings = [line for line in block.text.splitlines() if line and not line.startswith("->")]
    assert headings[-1] == "Timeout"  # of a call that takes 10 minutes
    printed = dict(heading.removeprefix("HTTP ").split(": ") for heading in headings[:-1])
    key = {"Authorization": "Bearer your-api-key"}
    for status, answer in {
        "400": predict(document_server, headers=key, num_frames=26),
        "401": predict(document_server, headers={"Authorization": "Bearer wrong"}),
    }.items():
        assert answer.status_code == int(status)
        assert answer.json()["error"].startswith(printed[status])
