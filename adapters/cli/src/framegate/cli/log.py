"""Structured logs: readable on a terminal, otherwise JSON lines, as is the audit log in its own file."""

import logging
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO

import structlog

from framegate.cli import terminal_log
from framegate.core.audit import LOGGER as AUDIT
from framegate.core.errors import ConfigError
from framegate.core.printable import printable_json

log = structlog.get_logger(__name__)

_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_encode = structlog.processors.JSONRenderer()


def _render_json(
    logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
) -> str:
    return printable_json(str(_encode(logger, method, event)))


_JSON: tuple[structlog.typing.Processor, ...] = (structlog.processors.format_exc_info, _render_json)


def configure_logging(stream: TextIO = sys.stderr, *, level: int = logging.INFO) -> None:
    """Send structlog's and the standard library's records, and Python's warnings, to ``stream`` in one form.

    Values bound with `structlog.contextvars` (job id, request id) are on every line.
    """
    renderers = terminal_log.renderers(stream) if stream.isatty() else _JSON
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(renderers))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    # No line shows these, and each record would look them up.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for noisy in ("dramatiq", "httpx", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def configure_audit_log(path: Path | None) -> None:
    """Send the audit log to a file, whatever the level of the other logs, or among their lines if None.

    The file is opened when the first line is written. Programs that rotate logs may move it away.
    """
    logger = logging.getLogger(AUDIT)
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        with suppress(OSError):  # what could not be written before
            handler.close()
    logger.propagate = path is None
    logger.setLevel(logging.NOTSET if path is None else logging.INFO)
    if path is not None:
        file = _AuditFile(path, encoding="utf-8", delay=True)
        file.setFormatter(_formatter(_JSON))
        logger.addHandler(file)


def require_audit_log(path: Path | None) -> None:
    """Raise if the audit log can't be written.

    Raises:
        ConfigError: Its folder doesn't exist, or the file can't be opened.
    """
    if path is not None:
        try:
            _open_private(path).close()
        except OSError as error:
            raise ConfigError(f"{path} can't be written: {error.strerror}.", key=("audit", "file")) from None


class _AuditFile(WatchedFileHandler):
    """A file that only its owner can read."""

    def _open(self) -> TextIOWrapper:
        return _open_private(Path(self.baseFilename))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name that logging calls
        """Report a line that can't be written, on a full disk for example, and go on."""
        error = sys.exception()
        reason = getattr(error, "strerror", None) or str(error)
        log.error("audit_line_not_written", line=record.getMessage(), reason=reason)


def _open_private(path: Path) -> TextIOWrapper:
    return open(  # Path.open has no opener
        path, "a", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)
    )


def _formatter(renderers: tuple[structlog.typing.Processor, ...]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )
