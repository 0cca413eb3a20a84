"""Look for the files of the models that a worker is to run, before their first jobs do."""

from collections.abc import Callable, Mapping

from framegate.core.models import ModelSpec
from framegate.core.plugins import missing_files


class ModelFiles:
    """The files of the models that ``specs`` returns. What has been found complete is not looked at again."""

    def __init__(self, specs: Callable[[], Mapping[str, ModelSpec]]) -> None:
        self._specs = specs
        self._complete: dict[str, ModelSpec] = {}

    def find_missing(self) -> list[str]:
        """Return a sentence for each model that lacks files. Clients may read it, so it names no paths."""
        missing: list[str] = []
        for name, spec in self._specs().items():
            if self._complete.get(name) == spec:
                continue
            if missing_files(spec):
                missing.append(
                    f"The model {name} lacks files on a worker's host; `framegate doctor` there says which."
                )
            else:
                self._complete[name] = spec
        return missing
