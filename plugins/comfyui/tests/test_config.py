"""The table of the config."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from framegate.core.errors import ConfigError
from framegate.plugins.comfyui.config import ComfyConfig, ServerConfig, read_config

SERVER = {"url": "http://127.0.0.1:8188"}


def test_the_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFY_TOKEN", "secret")
    config = read_config(
        {
            "workflows": str(tmp_path),
            "when_down": "fail",
            "run_timeout": "30m",
            "servers": [
                {
                    "url": "https://gpu.internal/comfy",
                    "token": {"env": "COMFY_TOKEN"},
                    "headers": {"X-Team": {"env": "COMFY_TOKEN"}},
                    "query": {"key": {"env": "COMFY_TOKEN"}},
                }
            ],
        }
    )
    [server] = config.servers
    assert (server.name, config.run_timeout, config.folder) == ("gpu.internal", 1800.0, tmp_path)
    assert server.secret_headers() == {"Authorization": "Bearer secret", "X-Team": "secret"}
    assert server.secret_query() == {"key": "secret"}
    assert "secret" not in repr(config), "secrets stay in the environment"
    assert read_config(config.as_options()) == config


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"server": []}, r"plugins\.comfyui\.server: unknown setting; did you mean servers\?"),
    ({"servers": [{}]}, r"plugins\.comfyui\.servers\[0\]: url is missing"),
    ({"servers": [{"url": "127.0.0.1:8188"}]}, r"servers\[0\]\.url: '127\.0\.0\.1:8188' is not the URL of a"),
    ({"servers": [{"url": "http://u:pw@host"}]}, "does not belong in the file"),
    ({"servers": [{"url": "u:pw@host"}]}, "this is not the URL of a ComfyUI"),
    ({"servers": [{"url": "http://u:p?pw@host"}]}, "has a query or a fragment"),
    ({"servers": [{"url": "http://host?key=pw"}]}, "has a query or a fragment"),
    ({"servers": [{"url": "host#pw"}]}, "has a query or a fragment"),
    ({"when_down": "hope"}, r'when_down: "hope" is not "fail" or "wait"'),
    ({"run_timeout": "soon"}, 'run_timeout: "soon" is not a duration such as "90s"'),
    ({"tries": 0}, "tries: 0 is not a whole number of at least 1"),
]


@pytest.mark.parametrize(("table", "message"), WRONG)
def test_a_wrong_table(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(table)
    assert "pw" not in caught.value.message


def test_a_secret_that_is_not_set() -> None:
    [server] = read_config({"servers": [{**SERVER, "token": {"env": "NO_SUCH_VARIABLE"}}]}).servers
    with pytest.raises(ConfigError, match="the environment variable NO_SUCH_VARIABLE is not set"):
        server.secret_headers()


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "comfyui.md").read_text(encoding="utf-8")
    for name in (*ComfyConfig.__struct_fields__, *ServerConfig.__struct_fields__):
        assert name == "servers" or re.search(rf"^{name} = ", page, re.MULTILINE), name
    for block in re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        table = tomllib.loads(block)["plugins"]["comfyui"]
        table.pop("workflows", None)
        assert read_config(table).servers
