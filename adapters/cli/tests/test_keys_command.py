"""``framegate keys``, as it prints."""

import json
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from framegate.core.settings import KeyConfig
from framegate.storage.embedded import EmbeddedValkey, is_running
from tests.support.in_process import Done, run_command
from tests.support.running import clean_environ
from tests.support.valkey import client, valkey

__all__ = ["client", "valkey"]

CONFIG = '[[auth.keys]]\nname = "root"\nsha256 = "' + "0" * 64 + '"\nscopes = ["admin"]\n'


class CommandLine:
    """Runs ``framegate keys`` with a config that has the key ``root``."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder, self._environ = folder, clean_environ(environ)
        (folder / "framegate.toml").write_text(CONFIG)

    def run(self, *arguments: str) -> Done:
        where = ("--config", str(self._folder / "framegate.toml"), "--data-dir", str(self._folder / "data"))
        return run_command(["keys", *arguments, *where], environ=self._environ, cwd=self._folder)

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode != 0
        assert not done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr


@pytest.fixture
def framegate(valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path, {"FRAMEGATE_QUEUE__URL": valkey.url})


def test_a_secret_is_printed_alone(framegate: CommandLine) -> None:
    done = framegate.run("create", "alice")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert done.stdout.startswith("fg_")
    assert "only now" in done.stderr
    secret = done.stdout.strip()
    rotated = framegate.run("rotate", "alice").stdout.strip()
    assert rotated.startswith("fg_")
    for arguments in (("list",), ("show", "alice"), ("list", "--json"), ("show", "alice", "--json")):
        done = framegate.run(*arguments)
        assert done.returncode == 0
        assert secret not in done.stdout
        assert rotated not in done.stdout


def test_what_a_key_may_do(framegate: CommandLine) -> None:
    issued = framegate.json(
        *("create", "alice", "--scope", "read", "--scope", "submit", "--dialect", "lightx2v"),
        *("--model", "lightx2v", "--model", "sora-2", "--set", "max_running=2", "--set", "plan=pro"),
        *("--expires-at", "2999-01-02T03:04:05+01:00"),
    )
    assert issued.pop("secret").startswith("fg_")
    shown = framegate.json("show", "alice")
    assert shown == issued
    expected = {
        "scopes": ["read", "submit"],
        "dialects": ["lightx2v"],
        "models": ["lightx2v", "sora-2"],
        "max_running": 2,
        "max_queued": None,
        "plan": "pro",
    }
    assert {name: shown[name] for name in expected} == expected
    assert datetime.fromisoformat(shown["expires_at"]) == datetime(2999, 1, 2, 2, 4, 5, tzinfo=UTC)
    table = " ".join(framegate.run("show", "alice").stdout.split())
    for words in ("read, submit", "lightx2v, sora-2", "max_running 2"):
        assert words in table


def test_every_limit_of_the_config_can_be_set(framegate: CommandLine) -> None:
    help_text = framegate.run("create", "--help").stdout
    options = {"name", "key", "sha256", "scopes", "dialects", "models", "expires_at"}
    for name in set(KeyConfig.__struct_fields__) - options:
        assert name in help_text


def test_a_key_s_life(framegate: CommandLine) -> None:
    framegate.json("create", "alice", "--expires-in", "30d")
    rotated = framegate.json("rotate", "alice", "--grace", "24h")
    ends = [secret["expires_at"] for secret in rotated["secrets"]]
    assert ends[1] is None
    hours = (datetime.fromisoformat(ends[0]) - datetime.now(UTC)).total_seconds() / 3600
    assert 23.9 < hours <= 24
    assert not framegate.json("expire", "alice", "--in", "1h")["expired"]
    assert framegate.json("expire", "alice", "--at", "2020-01-01T00:00:00Z")["expired"]
    assert framegate.run("expire", "alice", "--in", "0").stdout == "alice has expired.\n"
    assert "expired" in framegate.run("list").stdout
    assert framegate.run("expire", "alice", "--never").stdout == "alice expires never.\n"
    assert framegate.json("revoke", "alice") == {"revoked": "alice"}
    assert [key["name"] for key in framegate.json("list")] == ["root"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"])
def test_a_moment_that_no_clock_here_shows(framegate: CommandLine, moment: str) -> None:
    framegate.json("create", "late", "--expires-at", moment)
    assert "late" in framegate.run("list").stdout
    assert "9999-12-31" in framegate.run("show", "late").stdout
    assert "expires at 9999-12-31" in framegate.run("expire", "late", "--at", moment).stdout
    assert framegate.json("revoke", "late") == {"revoked": "late"}


def test_keys_of_the_config_are_shown_and_not_changed(framegate: CommandLine) -> None:
    assert framegate.json("list")[0] | {"source": "config", "scopes": ["admin"]} == framegate.json("list")[0]
    for arguments in (
        ("create", "root"),
        ("rotate", "root"),
        ("revoke", "root"),
        ("expire", "root", "--never"),
    ):
        assert "'root' is one of the config ([[auth.keys]])" in framegate.refused(*arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "a b"), "'a b' can't be a key's name; use 1 to 64 letters"),
        (("create", "a", "--scope", "root"), "'root' is not one of 'submit', 'read', 'admin'"),
        (("create", "a", "--model", "sora"), "There is no model 'sora'. Did you mean sora-2?"),
        (("create", "a", "--dialect", "sora"), "There is no dialect 'sora'; available: framegate, lightx2v"),
        (("create", "a", "--set", "max_runing=1"), "write NAME=VALUE with one of plan, max_running"),
        (("create", "a", "--set", "plan"), "got 'plan'"),
        (("create", "a", "--set", "max_running=-1"), "max_running: Expected `int` >= 0"),
        (("create", "a", "--expires-in", "soon"), "Expected a duration"),
        (("create", "a", "--expires-in", "0"), "choose a time in the future"),
        (("create", "a", "--expires-at", "2999-01-01T00:00:00"), "write a time with its zone"),
        (("create", "a", "--expires-in", "1h", "--expires-at", "2999-01-01T00:00:00Z"), "not both"),
        (("create", "."), "'.' can't be a key's name"),
        (("create", "a", "--expires-in", "99999999999d"), "Expected at most 36500d, a hundred years"),
        (("rotate", "root", "--grace", "400d"), "at most 366 days"),
        (("rotate", "nobody"), "There is no key 'nobody'"),
        (("revoke", "nobody"), "There is no key 'nobody'"),
        (("show", "nobody"), "There is no key 'nobody'"),
        (("expire", "nobody", "--never"), "There is no key 'nobody'"),
        (("expire", "nobody"), "Give one of --at, --in and --never"),
    ],
)
def test_what_is_wrong_is_said(framegate: CommandLine, arguments: tuple[str, ...], words: str) -> None:
    assert words in " ".join(framegate.refused(*arguments).split())


def test_the_first_key_can_be_made_before_the_first_start(tmp_path: Path) -> None:
    """Also in a folder of an earlier version, which others could read."""
    framegate = CommandLine(tmp_path, {})
    folders = [tmp_path / "data", tmp_path / "data" / "valkey"]
    for folder in folders:
        folder.mkdir()
        folder.chmod(0o755)
    framegate.json("create", "alice")
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]
    assert not is_running(tmp_path / "data"), "its queue ran for the command alone"
    assert [key["name"] for key in framegate.json("list")] == ["root", "alice"]


def test_the_check_of_the_config_asks_for_a_key_as_the_server_does(
    valkey: EmbeddedValkey, client: redis.Redis, tmp_path: Path
) -> None:
    (tmp_path / "framegate.toml").touch()

    def run(*arguments: str, queue: str = valkey.url) -> Done:
        environ = {"FRAMEGATE_QUEUE__URL": queue, "FRAMEGATE_SERVER__HOST": "0.0.0.0"}
        data = ("--data-dir", str(tmp_path / "data"))
        return run_command([*arguments, *data], environ=clean_environ(environ), cwd=tmp_path)

    refused = run("config", "check")
    assert refused.returncode == 1
    assert "server.host: without keys this server answers on loopback only, not on 0.0.0.0" in refused.stderr
    assert run("keys", "create", "alice").returncode == 0
    assert run("config", "check").returncode == 0
    unknown = run("config", "check", queue="redis://127.0.0.1:1/0")
    assert (unknown.returncode, "stored_keys_not_checked" in unknown.stderr) == (0, True)


def test_a_queue_that_is_away(tmp_path: Path) -> None:
    framegate = CommandLine(tmp_path, {"FRAMEGATE_QUEUE__URL": "redis://127.0.0.1:1/0"})
    assert "The job queue can't be reached" in framegate.refused("create", "alice")
