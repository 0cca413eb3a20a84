"""The hardening page and SECURITY.md: what they print can be used, and what they name is there."""

import configparser
import re
from pathlib import Path

import pytest

from framegate.cli.config_file import load_settings
from framegate.core.settings import ServerSettings, Settings
from framegate.server.command import serve
from tests.support.code_blocks import code_blocks

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "hardening.md"
POLICY = REPOSITORY / "SECURITY.md"


def blocks(language: str) -> list[str]:
    return [block.text for block in code_blocks(PAGE) if block.language == language]


@pytest.mark.parametrize("text", blocks("toml"))
def test_the_settings_are_right(text: str, tmp_path: Path) -> None:
    file = tmp_path / "framegate.toml"
    file.write_text(text)
    assert load_settings(file, {}) != Settings()


def test_the_unit_starts_the_server() -> None:
    [text] = blocks("ini")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    unit.read_string(text)
    service = unit["Service"]
    program, command, *arguments = service["ExecStart"].split()
    assert (Path(program).name, command) == ("framegate", "serve")
    with serve.make_context("serve", arguments) as context:
        given = {name: value for name, value in context.params.items() if value is not None}
    # The folders that systemd makes for a ProtectSystem=strict service.
    assert given["data_dir"] == Path("/var/lib") / service["StateDirectory"]
    [audit] = [settings for text in blocks("toml") if (settings := re.search(r'file = "(.*)"', text))]
    assert Path(audit[1]).parent == Path("/var/log") / service["LogsDirectory"]
    assert int(service["TimeoutStopSec"]) > ServerSettings().shutdown_grace + 5
    assert service["UMask"] == "0077"
    assert {"MemoryMax", "TasksMax", "LimitNOFILE"} <= set(service)


def test_every_defence_names_a_test() -> None:
    text = POLICY.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", text.partition("## What is defended")[2], re.MULTILINE)
    defences = [row for row in rows if row[0] != "against" and not row[0].startswith("---")]
    assert len(defences) > 15
    for against, _, tests in defences:
        named = re.findall(r"`([^`]+)`", tests)
        assert named, against
        for name in named:
            assert list(REPOSITORY.glob(name)), f"{against}: {name}"


def test_links_of_the_policy_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", POLICY.read_text(encoding="utf-8")):
        assert (REPOSITORY / target).exists(), target
