"""What an operator reads in the log."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from framegate.cli.log import configure_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("dramatiq", "httpx", "uvicorn")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, known in levels.items():
        logging.getLogger(name).setLevel(known)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def break_down(api_key: str) -> None:
    raise RuntimeError(f"no picture for a key of {len(api_key)} characters")


def test_a_file_gets_json_lines() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    structlog.get_logger("framegate.test").info("job_submitted", job_id="a1", steps=4)
    logging.getLogger("library").warning("%d tries left", 3)
    own, other = lines_of(stream)
    assert (own["event"], own["job_id"], own["steps"]) == ("job_submitted", "a1", 4)
    assert (own["level"], own["logger"]) == ("info", "framegate.test")
    assert own["timestamp"].endswith("Z")
    assert (other["event"], other["level"], other["logger"]) == ("3 tries left", "warning", "library")
    assert other.keys() == own.keys() - {"job_id", "steps"}


def test_a_terminal_gets_text() -> None:
    stream = Terminal()
    configure_logging(stream)
    structlog.get_logger("framegate.test").info("job_submitted", job_id="a1")
    logging.getLogger("library").warning("%d tries left", 3)
    text = stream.getvalue()
    assert "job_submitted" in text
    assert "3 tries left" in text
    assert "a1" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_bound_values_are_on_each_line(kind: type[io.StringIO]) -> None:
    stream = kind()
    configure_logging(stream)
    with structlog.contextvars.bound_contextvars(job_id="a1b2c3"):
        structlog.get_logger("framegate.test").info("one")
        logging.getLogger("library").warning("two")
    logging.getLogger("library").warning("three")
    assert ["a1b2c3" in line for line in stream.getvalue().splitlines()] == [True, True, False]


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("library", [False, True])
def test_exceptions_are_text_without_local_variables(kind: type[io.StringIO], library: bool) -> None:
    stream = kind()
    configure_logging(stream)
    logger = logging.getLogger("library") if library else structlog.get_logger("framegate.test")
    try:
        break_down("".join(("sk-", "secret")))
    except RuntimeError:
        logger.exception("generation_failed")
    text = stream.getvalue()
    assert "Traceback (most recent call last)" in text
    assert "RuntimeError: no picture for a key of 9 characters" in text
    assert "sk-secret" not in text
    if kind is io.StringIO:
        (line,) = lines_of(stream)
        assert line["event"] == "generation_failed"
        assert line["exception"].endswith("no picture for a key of 9 characters")


def test_the_level() -> None:
    stream = io.StringIO()
    configure_logging(stream, level=logging.WARNING)
    structlog.get_logger("framegate.test").info("hidden")
    logging.getLogger("library").info("hidden")
    structlog.get_logger("framegate.test").warning("shown")
    assert [line["event"] for line in lines_of(stream)] == ["shown"]


def test_libraries_that_talk_about_each_request_are_quiet() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    for name in ("dramatiq", "httpx", "uvicorn"):
        logging.getLogger(name).info("hidden")
        logging.getLogger(name).warning("shown")
    assert [line["event"] for line in lines_of(stream)] == ["shown"] * 3


def test_configuring_twice_writes_each_line_once() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(first)
    configure_logging(second)
    logging.getLogger("library").warning("once")
    assert first.getvalue() == ""
    assert len(lines_of(second)) == 1
