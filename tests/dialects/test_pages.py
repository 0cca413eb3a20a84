"""The dialects' pages, done as they say: every command and program of them runs as printed."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

import pytest
from PIL import Image

from tests.support.code_blocks import CodeBlock, code_blocks, is_program
from tests.support.decoding import decoded
from tests.support.flat_model import flat_environ
from tests.support.running import RunningServer, eventually
from tests.support.shell import Shell, needs_tools
from tests.support.small_models import PRINTED_NAMES

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted((DOCS / "dialects").glob("*.md"))
PRINTED_ID = "5f0c…"

File: TypeAlias = tuple[object, ...]


class Expected(NamedTuple):
    """What a page's blocks save and print, among other things."""

    files: set[tuple[str, File]]
    texts: tuple[str, ...] = ()


EXPECTED = {
    "framegate": Expected(
        {
            ("cat.mp4", (416, 240, 48, 24.0)),
            ("cat.webp", ("WEBP", 416, 240)),
            ("turned.mp4", (156, 104, 9, 24.0)),
        },
        ("event: job\n", '"state":"succeeded"'),
    ),
    "lightx2v": Expected({("ID.mp4", (832, 480, 32, 16.0))}),
    "openai-chat": Expected(
        {("cat.mp4", (128, 96, 121, 24.0)), ("output.mp4", (128, 96, 121, 24.0))},
        (r"Generated Video URL: http://127\.0\.0\.1:\d+/view\?filename=", "Generation Process Begins"),
    ),
    "openai-images": Expected(
        {
            ("cat-0.png", ("PNG", 768, 512)),
            ("cat-1.png", ("PNG", 768, 512)),
            ("image_edit.partial_image.png", ("PNG", 1254, 836)),
            ("image_edit.completed.png", ("PNG", 1254, 836)),
            ("cat.png", ("PNG", 768, 512)),
            ("oil.webp", ("WEBP", 1254, 836)),
        }
    ),
    "openai-videos": Expected(
        {
            ("cat.mp4", (1280, 720, 96, 24.0)),
            ("cat.mp4", (832, 480, 48, 24.0)),
            ("cat.webp", ("WEBP", 832, 480)),
            ("output.mp4", (832, 480, 144, 24.0)),
        },
        ('"seconds": "6"',),
    ),
    "sora2api": Expected(
        {("cat.mp4", (128, 96, 300, 30.0))},
        (r"!\[Generated Image\]\(http://", r"<video src='http://", "角色创建成功，角色名@"),
    ),
    "wan21-submit": Expected({("turned.mp4", (768, 512, 81, 16.0))}),
    "wan22-predict": Expected({("cat.mp4", (1280, 704, 49, 24.0)), ("turned.mp4", (1280, 704, 121, 24.0))}),
}


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose videos are small where a page prints no size, and quickly made where it prints one."""
    folder = tmp_path_factory.mktemp("pages")
    presets = '[presets]\nwan22-predict = { video = "flat" }\nopenai-videos = { video = "flat" }\n'
    running = RunningServer(
        folder / "data", config=presets + PRINTED_NAMES, environ=flat_environ(folder / "plugin")
    )
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def described(name: str, data: bytes) -> File | None:
    """Return what is in a result."""
    if name.endswith(".mp4"):
        return decoded(data)
    if name.endswith((".png", ".webp")):
        with Image.open(io.BytesIO(data)) as image:
            return image.format, *image.size
    return None


def statements(script: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a script, each with the answer that a comment below it prints."""
    found: list[tuple[str, str]] = []
    pending = ""
    for line in script.splitlines():
        if not pending and line.startswith("# {"):
            found[-1] = found[-1][0], line.removeprefix("# ")
        elif pending or (line and not line.startswith("#")):
            pending += line + "\n"
            if _is_complete(pending):
                found.append((pending, ""))
                pending = ""
    assert not pending, pending
    yield from found


def _is_complete(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:  # an open quotation
        return False
    return not command.rstrip().endswith(("\\", "|", "&&"))


def is_like(printed: object, actual: object) -> bool:
    """Return whether an answer has what is printed; ids and numbers may differ, and it may have more keys."""
    match printed, actual:
        case dict(), dict():
            shown, found = cast("dict[str, object]", printed), cast("dict[str, object]", actual)
            return all(key in found and is_like(value, found[key]) for key, value in shown.items())
        case list(), list():
            pairs = zip_longest(cast("list[object]", printed), cast("list[object]", actual))
            return all(is_like(shown, found) for shown, found in pairs)
        case str(), str():
            return re.fullmatch(re.escape(printed).replace(PRINTED_ID, r"[\w-]+"), actual) is not None
        case int() | float(), int() | float():
            return True
        case _:
            return printed == actual


def follow(shell: Shell, script: str) -> str:
    """Run commands one by one; the printed id stands for that of the newest answer.

    A command that asks about an id is repeated until the answer is the printed one.
    """
    output = newest = ""
    for statement, printed in statements(script):
        command = statement.replace(PRINTED_ID, newest)
        assert "…" not in command, command
        expected = json.loads(printed.replace(",…", "") or "null")

        def answer(command: str = command, expected: object = expected) -> list[str]:
            printed = shell.bash(command)
            return [printed] if expected is None or is_like(expected, json.loads(printed)) else []

        if PRINTED_ID in statement:
            [found] = eventually(answer, what=printed)
        else:
            [found] = answer()
        output += found
        if started := re.search(r'"(?:task_id|requestId|id)":"([^"]+)"', found):
            newest = started[1]
    return output


def run(shell: Shell, block: CodeBlock, replacements: dict[str, str]) -> str:
    text = block.replaced(replacements)
    if block.language == "python":
        return shell.python(text)
    return follow(shell, text) if PRINTED_ID in block.code else shell.bash(text)


@needs_tools
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page(page: Path, page_server: RunningServer, pictures: str, photo: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, {"FRAMEGATE_URL": page_server.url})
    (tmp_path / "docs").symlink_to(DOCS)
    with Image.open(photo) as image:
        image.save(tmp_path / "cat.png")
    host = page_server.url.removeprefix("http://")
    replacements = {
        "localhost:8000": host,
        "https://example.com/cat.png": f"{pictures}/photo.jpg",
        "FRAMEGATE_API_KEY=…": "FRAMEGATE_API_KEY=any",
    }
    made: set[tuple[str, File | None]] = set()
    output = ""
    before = contents(tmp_path)
    for block in filter(is_program, code_blocks(page)):
        printed = run(shell, block, replacements)
        assert not re.search(r'"error": ?\{', printed), printed
        output += printed
        after = contents(tmp_path)
        changed = {name: data for name, data in after.items() if before.get(name) != data}
        made |= {
            (re.sub(r"[0-9a-f]{32}", "ID", name), described(name, data)) for name, data in changed.items()
        }
        before = after
    expected = EXPECTED[page.stem]
    assert expected.files <= made
    assert all(re.search(text, output) for text in expected.texts), output
