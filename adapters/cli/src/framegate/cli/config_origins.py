"""Where in the config a setting is: a line of the file, an environment variable or the command line."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from framegate.core.errors import ConfigError, ConfigErrors, ConfigKey

_HEADER = re.compile(r"(\[\[?)\s*([^\[\]]+?)\s*\]\]?")
_ASSIGNMENT = re.compile(r"([A-Za-z0-9_.\"' -]+?)\s*=")
_NAME = re.compile(r"\"([^\"]*)\"|'([^']*)'|([^.\s\"']+)")


class Origins:
    """What set the values of a config.

    ``file`` is the config file, if there is one, with its ``text``. ``tree`` is everything that was set, and
    ``sources`` say what set the values that are not the file's, by their dotted keys.
    """

    def __init__(
        self,
        file: Path | None = None,
        text: str = "",
        tree: Mapping[str, Any] | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._file = file
        self._text = text
        self._tree = tree or {}
        self._sources = sources or {}

    @property
    def text(self) -> str:
        """The text of the config file; empty if there is none."""
        return self._text

    def where(self, key: ConfigKey) -> str:
        """Return what set the value at ``key``, or the table that it should be in; empty if nothing did."""
        path = [str(step) for step in self._indexed(key)]
        name = ".".join(path)
        for setting, source in self._sources.items():
            if f"{name}.".startswith(f"{setting}.") or setting.startswith(f"{name}."):
                return source
        if self._file is None:
            return ""
        line = _line_of(self._text, path)
        return f"{self._file}:{line}" if line else str(self._file)

    def locate(self, error: ConfigError) -> ConfigError:
        """Return the error with what set its setting."""
        if error.where or not error.key:
            return error
        key = self._indexed(error.key)
        return ConfigError(error.reason, key=key, where=self.where(key))

    @contextmanager
    def locating(self) -> Generator[None]:
        """Locate the errors that the block raises."""
        try:
            yield
        except ConfigErrors as error:
            raise ConfigErrors([self.locate(each) for each in error.errors]) from None
        except ConfigError as error:
            located = self.locate(error)
            raise (located if located is not error else error) from None

    def _indexed(self, key: ConfigKey) -> ConfigKey:
        """Return the key with the indexes of entries that it calls by their names."""
        here: Any = self._tree
        found: list[str | int] = []
        for step in key:
            if isinstance(here, list) and isinstance(step, str):
                names = [_name_of(entry) for entry in cast("Sequence[object]", here)]
                step = names.index(step) if step in names else step
            found.append(step)
            try:
                here = cast("Any", here)[step]
            except (LookupError, TypeError):
                here = None
        return tuple(found)


def _name_of(entry: object) -> Any:
    return cast("dict[str, Any]", entry).get("name") if isinstance(entry, dict) else None


def _line_of(text: str, path: list[str]) -> int | None:
    """Return the line that sets the value at ``path``, or that opens the table it should be in."""
    table: list[str] = []
    arrays: dict[str, int] = {}
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := _HEADER.match(stripped):
            table = _names(header[2])
            if header[1] == "[[":
                name = ".".join(table)
                arrays[name] = arrays.get(name, -1) + 1
                table = [*table, str(arrays[name])]
            else:
                table = _within_arrays(table, arrays)
            found = table
        elif assignment := _ASSIGNMENT.match(stripped):
            found = [*table, *_names(assignment[1])]
        else:
            continue
        if found[:-1] == path:  # the first entry of an array stands for all of it
            found = path
        if path[: len(found)] == found and (best is None or len(found) > best[0]):
            best = (len(found), number)
    return best[1] if best else None


def _names(dotted: str) -> list[str]:
    return ["".join(groups) for groups in _NAME.findall(dotted)]


def _within_arrays(table: list[str], arrays: Mapping[str, int]) -> list[str]:
    """Return the path of a table with the index of the array's entry that it belongs to."""
    for length in range(len(table) - 1, 0, -1):
        if (index := arrays.get(".".join(table[:length]))) is not None:
            return [*table[:length], str(index), *table[length:]]
    return table
