"""Who may read the data folder."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from framegate.core.errors import ConfigError
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.data_folder import secure_data_folder
from framegate.storage.embedded import EmbeddedValkey, socket_path


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's temporary folder, with a path that is short enough for a socket in it."""
    with TemporaryDirectory() as folder:
        monkeypatch.setattr("tempfile.gettempdir", lambda: folder)
        yield Path(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def store_a_file(folder: Path) -> Path:
    store = FolderStore(folder)
    scratch = store.workdir("scratch") / "file"
    scratch.write_bytes(b"secret")
    store.put(scratch, "results/job/0.png")
    found = store.path("results/job/0.png")
    assert found
    return found


def test_a_new_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    secure_data_folder(folder)
    stored = store_a_file(folder)
    assert mode(folder) == 0o700
    for path in (stored, *stored.relative_to(folder).parents):
        assert mode(folder / path) & 0o077 == 0


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    """One of an earlier version, with what that left open in it."""
    folder = tmp_path / "data"
    parts = [folder, *(folder / name for name in ("files", "uploads", "valkey"))]
    for part in parts:
        part.mkdir()
        part.chmod(0o755)
    secure_data_folder(folder)
    assert [mode(part) for part in parts] == [0o700] * 4


def test_a_group_keeps_its_folder(tmp_path: Path) -> None:
    """API and workers of several users share it, as by an ``fsGroup`` of Kubernetes."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o2775)
    secure_data_folder(folder)
    stored = store_a_file(folder)
    assert mode(folder) == 0o2770
    assert mode(stored) == 0o660
    assert mode(stored.parent) & 0o777 == 0o770
    assert stored.stat().st_gid == folder.stat().st_gid


def test_folders_that_others_rely_on_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sticky, home = tmp_path / "tmp", tmp_path / "home"
    for folder, bits in ((sticky, 0o1777), (home, 0o755)):
        (folder / "files").mkdir(parents=True)
        folder.chmod(bits)
        (folder / "files").chmod(0o755)
    monkeypatch.setattr(Path, "home", lambda: home)
    for folder, bits in ((sticky, 0o1777), (home, 0o755)):
        secure_data_folder(folder)
        assert mode(folder) == bits
        assert mode(folder / "files") == 0o700, "but what is ours in them is closed"


def test_a_folder_of_another_user_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    events: list[str] = []

    def refuse(path: Path, bits: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    def warn(event: str, **_: str) -> None:
        events.append(event)

    monkeypatch.setattr(Path, "chmod", refuse)
    monkeypatch.setattr("framegate.storage.data_folder.log.warning", warn, raising=False)
    secure_data_folder(folder)
    assert events == ["data_folder_open"]


@pytest.mark.parametrize("closed", ["data", "."])
def test_a_folder_that_is_closed_to_this_user_is_an_error(temporary: Path, closed: str) -> None:
    """It is the folder itself, or one above it."""
    home = temporary / "home"
    folder = home / "data"
    folder.mkdir(parents=True)
    temporary.chmod(0o711)
    (home / closed).chmod(0)
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from framegate.core.errors import ConfigError\n"
        "from framegate.storage.data_folder import close_data_folder\n"
        "from framegate.storage.embedded import DataFolderLock, look\n"
        "os.getuid() or os.setuid(65534)\n"  # nothing keeps root out
        "for call in (close_data_folder, look, DataFolderLock):\n"
        "    try: call(Path(sys.argv[1]))\n"
        "    except ConfigError as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=60)
    (home / closed).chmod(0o700)
    assert done.stderr == ""
    closed_to_this_user = re.compile(
        rf"server\.data_dir: the data folder {re.escape(str(folder))} belongs to .* user.* and is closed to "
        r"this user\. .* --data-dir\."
    )
    messages = done.stdout.splitlines()
    assert len(messages) == 3
    assert all(map(closed_to_this_user.fullmatch, messages)), messages


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(ConfigError, match=r"server\.data_dir: .* can't be used"):
        secure_data_folder(tmp_path / "data")


def test_a_prepared_socket_folder_is_not_trusted(tmp_path: Path, temporary: Path) -> None:
    """Anybody may have made it first, also as a link to elsewhere."""
    data_dir = tmp_path / ("deep" * 30)
    private, elsewhere = socket_path(data_dir).parent, temporary / "elsewhere"
    elsewhere.mkdir()
    private.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="belongs to another user, or is no folder"):
        EmbeddedValkey(data_dir).start()
    private.unlink()
    private.mkdir()
    private.chmod(0o777)
    valkey = EmbeddedValkey(data_dir)
    valkey.start()
    valkey.stop()
    assert mode(private) == 0o700
