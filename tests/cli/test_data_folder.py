"""What a running server leaves readable to other users of the machine."""

import stat
from collections.abc import Callable
from pathlib import Path

from tests.support.running import RunningServer
from tests.support.tasks import all_succeed, submit

StartServer = Callable[..., RunningServer]


def test_nothing_in_the_data_folder_is_open_to_others(start_server: StartServer, tmp_path: Path) -> None:
    """It existed before, open to everybody; Valkey, API, worker and heartbeat process write into it."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    server = start_server(arguments=["--workers", "1"])
    all_succeed(server, [submit(server, "a lighthouse")])
    paths = [folder, *folder.rglob("*")]
    assert any("results" in path.parts for path in paths)
    assert any(path.suffix == ".aof" for path in paths)
    open_paths = [path for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o077]
    assert open_paths == []
    assert "data_folder_closed" in server.log_text()
