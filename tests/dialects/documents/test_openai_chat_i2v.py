"""The blocks of openai-chat-i2v.md, as printed."""

import base64
import json
import re
import shutil
from pathlib import Path

import requests

from tests.support.code_blocks import CodeBlock, Document
from tests.support.decoding import decoded
from tests.support.printed_answers import mismatches
from tests.support.running import RunningServer
from tests.support.shell import Shell, needs_tools

DOCUMENT = Document(Path(__file__).parent / "published" / "openai-chat-i2v.md")
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "i2v_chat.py"


@DOCUMENT.together(1, 2)
def test_a_chat_completion(document_server: RunningServer, blocks: list[CodeBlock], photo: Path) -> None:
    request, printed = blocks
    image = base64.b64encode(photo.read_bytes()).decode()
    body = request.replaced({"iVBORw0KGgoAAAANSUhEUgAA...": image})
    answer = requests.post(
        f"{document_server.url}/v1/chat/completions",
        data=body.encode(),
        headers={"Content-Type": "application/json", "Authorization": "Bearer YOUR_API_KEY"},
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    found, expected = answer.json(), json.loads(printed.text)
    assert mismatches(expected, found) == []
    assert all(found[key] == expected[key] for key in ("object", "model", "usage"))
    assert found["id"].startswith("chatcmpl-")
    [choice], [printed_choice] = found["choices"], expected["choices"]
    content, printed_content = choice["message"].pop("content"), printed_choice["message"].pop("content")
    assert printed_choice.items() <= choice.items()
    prompt = json.loads(request.text)["messages"][0]["content"][0]["text"]
    shown = re.sub(r"(?<=for: ).*", lambda _: prompt, printed_content)
    before, after = shown.replace("http://your-server:6006", document_server.url).split("LTX-2_00001")
    assert content.startswith(before)
    assert content.endswith(after)
    link = content.rpartition(" ")[2]
    assert decoded(requests.get(link, timeout=60).content)[:2] == (128, 96)


@needs_tools
@DOCUMENT.each(3)
def test_the_script(shell: Shell, block: CodeBlock, photo: Path, pictures: str) -> None:
    """Its script is not published; ours takes the same arguments."""
    (shell.folder / "tests").mkdir()
    shutil.copy(EXAMPLE, shell.folder / "tests" / "test_i2v.py")
    shutil.copy(photo, shell.folder / "test.png")
    output = shell.bash(block.replaced({"https://example.com/img.jpg": f"{pictures}/photo.jpg"}))
    assert len(re.findall(r"^http://\S+/view\?filename=\S+&type=output$", output, re.MULTILINE)) == 2
