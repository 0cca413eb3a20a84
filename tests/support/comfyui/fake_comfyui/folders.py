"""The server's files."""

import re
from pathlib import Path

KINDS = ("input", "output", "temp")


class Folders:
    """``input``, ``output``, ``temp`` and ``models/KIND`` under one folder."""

    def __init__(self, base: Path) -> None:
        self._base = base
        for kind in KINDS:
            (base / kind).mkdir(parents=True, exist_ok=True)

    def of(self, kind: str) -> Path:
        return self._base / kind

    def input_file(self, name: str) -> Path:
        """Follow ``..`` wherever it leads, as the real server does."""
        return self.of("input") / name

    def inputs(self) -> list[str]:
        """Return the names that a combo offers: the folder's files without those of subfolders."""
        return sorted(path.name for path in self.of("input").iterdir() if path.is_file())

    def models(self, kind: str) -> list[str]:
        folder = self._base / "models" / kind
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def new_file(self, kind: str, prefix: str, extension: str) -> tuple[Path, dict[str, str]]:
        """Return the path of the next ``prefix_NNNNN_.extension``, and how responses name it."""
        root = self.of(kind).resolve()
        wanted = (root / prefix).resolve()
        if not wanted.is_relative_to(root):
            raise ValueError("Saving image outside the output folder is not allowed.")
        wanted.parent.mkdir(parents=True, exist_ok=True)
        numbers = re.compile(re.escape(wanted.name) + r"_(\d+)_")
        numbers_used = [
            int(found[1]) for path in wanted.parent.iterdir() if (found := numbers.match(path.name))
        ]
        name = f"{wanted.name}_{max(numbers_used, default=0) + 1:05}_.{extension}"
        subfolder = wanted.parent.relative_to(root).as_posix()
        names = {"filename": name, "subfolder": "" if subfolder == "." else subfolder, "type": kind}
        return wanted.parent / name, names
