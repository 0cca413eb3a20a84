"""The documentation, done as it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import click
import pytest
from msgspec import Struct

from framegate.cli.main import cli
from framegate.core.styles import STYLES
from tests.support.code_blocks import code_blocks
from tests.support.in_process import run_command
from tests.support.running import RunningServer, clean_environ

REPOSITORY = Path(__file__).parents[2]


def blocks(document: str, language: str) -> list[str]:
    return [block.text for block in code_blocks(REPOSITORY / document) if block.language == language]


def test_the_line_under_make_run_gives_a_playable_video(server: RunningServer, tmp_path: Path) -> None:
    [line] = [block for block in blocks("README.md", "sh") if block.startswith("id=")]
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    command = line.replace("http://localhost:8000", server.url)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, timeout=120)
    with av.open(tmp_path / "out.mp4") as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (832, 480)
        assert stream.average_rate == 16
        assert sum(1 for _ in video.decode(stream)) == 48


def written_down(folder: Path) -> dict[str, str]:
    """The plugin of the plugin page in ``folder``; the environment in which it can be imported."""
    for block in blocks("docs/plugins.md", "python"):
        name = block.splitlines()[0].removeprefix("# ").strip()
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_the_backend_of_the_plugin_page_passes_the_contract(tmp_path: Path) -> None:
    environ = written_down(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d* passed", done.stdout)


def test_the_dialect_of_the_plugin_page_serves(tmp_path: Path) -> None:
    program = """
from pathlib import Path
from litestar import Router
from framegate.server.dialect import DialectContext
from framegate.core.plugins import load_object
from framegate_noise.dialects import framegate_dialects

[spec] = framegate_dialects()
context = DialectContext(name=spec.name, services=None, data_path=Path(), max_input=1)
dialect = load_object(spec.factory)(context)
router = Router(path="/", route_handlers=dialect.handlers)
assert [route.path for route in router.routes] == ["/noise"]
"""
    subprocess.run([sys.executable, "-c", program], env=written_down(tmp_path), check=True, timeout=60)


def test_the_options_of_the_plugin_page_are_checked_as_it_says(tmp_path: Path) -> None:
    program = """
from framegate.core.errors import ConfigError
from framegate_noise.options import read_options

assert read_options({"grain": 3}).grain == 3
try:
    read_options({"colour": "pnik"})
except ConfigError as error:
    print(error.reason)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=written_down(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() in (REPOSITORY / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "document", ["../README.md", *sorted(path.name for path in (REPOSITORY / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(document: str) -> None:
    path = REPOSITORY / "docs" / document
    for target in re.findall(r"\]\((?!http)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{document}: {target}"


def test_every_setting_is_documented() -> None:
    """The table of settings and the config that `init` writes name all there are."""
    from framegate.cli.commands.config import TEMPLATE
    from framegate.core.settings import Settings

    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    template = TEMPLATE.read_text(encoding="utf-8")
    tables = {"server", "auth", "queue", "storage", "fetch", "webhooks", "links", "audit", "worker"}
    assert tables < set(Settings.__struct_fields__)
    for table in tables:
        settings: Struct = getattr(Settings(), table)
        for name in settings.__struct_fields__:
            assert f"{table}.{name}" in page, f"{table}.{name}"
            assert f"{name} = " in template or f"{table}.{name}" in template, f"{table}.{name}"


def test_every_style_is_documented() -> None:
    page = (REPOSITORY / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in STYLES)


def test_the_compose_files_config_is_right(tmp_path: Path) -> None:
    done = run_command(
        ["config", "check", "--config", REPOSITORY / "docker" / "framegate.toml", "--data-dir", tmp_path],
        environ=clean_environ({"FRAMEGATE_KEY": "a-secret-for-tests"}),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_documented() -> None:
    """The page of the command line names each command, and those below it that can be called."""
    page = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    context = click.Context(cli)
    for name in cli.list_commands(context):
        assert f"`{name}" in page, name
        command = cli.get_command(context, name)
        if name in ("jobs", "characters", "workers"):
            assert isinstance(command, click.Group)
            assert all(f"`{name} {below}" in page for below in command.commands), name
