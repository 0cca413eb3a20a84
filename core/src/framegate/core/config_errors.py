"""Collecting of what is wrong with a config, so that all of it is reported at once."""

import difflib
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from framegate.core.errors import ConfigError, ConfigErrors, ConfigKey

_MOST_LISTED = 12


class ErrorCollector:
    """The errors of a config, in the order in which they were found.

    ``warnings`` keep nothing from running.
    """

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []

    def add(self, reason: str, *key: str | int) -> None:
        """Add an error of the setting at ``key``."""
        self.errors.append(ConfigError(reason, key=key))

    def warn(self, reason: str, *key: str | int) -> None:
        """Add a warning about the setting at ``key``."""
        self.warnings.append(ConfigError(reason, key=key))

    @contextmanager
    def catching(self) -> Generator[None]:
        """Add the `ConfigError` that the block raises."""
        try:
            yield
        except ConfigError as error:
            self.errors += error.errors

    def raise_errors(self) -> None:
        """Raise what was found, if it was anything.

        Raises:
            ConfigError: The only error, or all as `ConfigErrors`.
        """
        found = list({error.message: error for error in self.errors}.values())
        if len(found) == 1:
            raise found[0]
        if found:
            raise ConfigErrors(found)


def below(key: ConfigKey, error: ConfigError) -> ConfigError:
    """Return the error of a table as one of the config that has the table at ``key``."""
    return ConfigError(error.reason, key=(*key, *error.key))


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" or, where nothing is similar, "; available: …." to end a sentence with."""
    names = list(known)
    lowered = {each.lower(): each for each in names}
    if near := difflib.get_close_matches(name[:100].lower(), lowered, n=1, cutoff=0.7):
        return f"; did you mean {lowered[near[0]]}?"
    if not names:
        return "; there is none."
    more = "" if len(names) <= _MOST_LISTED else f" and {len(names) - _MOST_LISTED} more"
    return f"; available: {', '.join(names[:_MOST_LISTED])}{more}."
