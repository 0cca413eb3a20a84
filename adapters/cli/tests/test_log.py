"""What an operator reads in the log."""

import io
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from framegate.cli.log import configure_audit_log, configure_logging, require_audit_log
from framegate.cli.options import context_from
from framegate.core import audit
from framegate.core.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    names = ("dramatiq", "httpx", "uvicorn")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield
        logging.captureWarnings(False)
    configure_audit_log(None)
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
    assert "job a1 queued" in text
    assert "library: 3 tries left" in text
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


def test_the_audit_log_is_among_the_lines() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    with audit.acting_as(audit.Actor("client", "alice", "203.0.113.7")):
        audit.record("job_deleted", job_id="a1")
    audit.record("job_deleted", job_id="a2")
    first, second = lines_of(stream)
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "job_deleted",
        "level": "info",
        "logger": "framegate.audit",
        "actor": "client",
        "client": "alice",
        "address": "203.0.113.7",
        "job_id": "a1",
    }
    assert (second["actor"], second["job_id"]) == ("operator", "a2")
    assert not second.keys() & {"client", "address"}
    configure_logging(stream, level=logging.WARNING)
    audit.record("job_deleted", job_id="a3")
    assert len(lines_of(stream)) == 2, "it has the level of the other logs"


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
def test_the_audit_log_in_a_file_of_its_own(tmp_path: Path, level: int) -> None:
    stream, file = Terminal(), tmp_path / "audit.log"
    configure_logging(stream, level=level)
    configure_audit_log(file)
    assert not file.exists(), "commands that delete nothing leave nothing"
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        audit.record("job_deleted", job_id="a1", file="\x1b]0;title\x07\n")
    rotated = tmp_path / "audit.log.1"
    file.rename(rotated)
    audit.record("job_deleted", job_id="a2")
    assert stream.getvalue() == ""
    [line] = [json.loads(line) for line in rotated.read_text().splitlines()]
    assert (line["logger"], line["level"], line["actor"]) == ("framegate.audit", "info", "operator")
    assert (line["job_id"], line["request_id"]) == ("a1", "r1")
    assert "\x1b" not in rotated.read_text(), "JSON escapes it"
    [line] = [json.loads(line) for line in file.read_text().splitlines()]
    assert line["job_id"] == "a2"
    assert [path.stat().st_mode & 0o777 for path in (file, rotated)] == [0o600, 0o600]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_line_that_can_not_be_written_is_in_the_other_log() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    configure_audit_log(Path("/dev/full"))
    audit.record("job_deleted", job_id="a1")
    [line] = lines_of(stream)
    assert (line["event"], line["reason"]) == ("audit_line_not_written", "No space left on device")
    assert "a1" in line["line"]
    assert "Traceback" not in stream.getvalue()


@pytest.mark.parametrize("name", ["missing/audit.log", "."])
def test_a_file_that_can_not_be_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(ConfigError, match=rf"audit\.file: {re.escape(str(path))} can't be written: "):
        require_audit_log(path)
    require_audit_log(tmp_path / "audit.log")
    require_audit_log(None)


def test_commands_write_to_the_file_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in filter(re.compile("FRAMEGATE_").match, list(os.environ)):
        monkeypatch.delenv(name)
    configure_logging(io.StringIO())
    config = tmp_path / "framegate.toml"
    config.write_text('[audit]\nfile = "audit.log"\n')
    context_from(config, tmp_path)
    audit.record("character_deleted", character="cat001")
    assert json.loads((tmp_path / "audit.log").read_text())["character"] == "cat001"
    config.write_text("")
    context_from(config, tmp_path)
    audit.record("character_deleted", character="cat002")
    assert "cat002" not in (tmp_path / "audit.log").read_text()


HOSTILE = "\x1b]0;owned\x07\x9b2J\r\u202e\u200b\x7f\n2026-01-01 [error] forged\u2028"


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("library", [False, True])
def test_what_clients_send_forges_no_line(kind: type[io.StringIO], library: bool) -> None:
    stream = kind()
    configure_logging(stream)
    if library:
        logging.getLogger("library").warning("from %s", HOSTILE)
    else:
        structlog.get_logger("framegate.test").warning("request", path=HOSTILE, names=[HOSTILE])
    text = stream.getvalue()
    assert text.count("\n") == 1
    colours = re.sub(r"\x1b\[[0-9;]*m", "", text.removesuffix("\n"))
    assert colours.isascii()
    assert colours.isprintable()
    if kind is io.StringIO:
        (line,) = lines_of(stream)
        assert line["event"] == f"from {HOSTILE}" if library else line["path"] == HOSTILE


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_an_exception_forges_nothing_but_its_own_lines(kind: type[io.StringIO]) -> None:
    stream = kind()
    configure_logging(stream)
    try:
        raise RuntimeError(HOSTILE)
    except RuntimeError:
        structlog.get_logger("framegate.test").exception("failed")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert all(line.isprintable() and line.isascii() for line in plain.splitlines())


def shown(stream: io.StringIO) -> list[str]:
    """The lines without their times."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), lines
    return [line[9:] for line in lines]


JOB = "3f2a91c0" + "0" * 24


def test_the_life_of_a_job_on_a_terminal() -> None:
    stream = Terminal()
    configure_logging(stream)
    log = structlog.get_logger("framegate.test")
    with structlog.contextvars.bound_contextvars(job_id=JOB, request_id="r1"):
        log.info("job_submitted", dialect="openai-videos", model="sora-2", served_by="wan22")
        log.info("request", method="POST", path="/v1/videos", status=200, ms=12.3, client="alice")
        log.info("job_started", model="sora-2", served_by="wan22", attempt=2)
        log.info("job_ended", state="succeeded", model="sora-2", seconds=4.06)
        log.warning("job_failed", code="out_of_memory", reason="Out of memory; lower the resolution.")
        log.info("job_ended", state="failed", model="sora-2", seconds=779.7)
        log.info("job_ended", state="queued", model="preview", seconds=0.25)
    assert shown(stream) == [
        "job 3f2a91c0 queued sora-2 (wan22)  by openai-videos",
        "POST /v1/videos 200 12 ms  job 3f2a91c0  alice",
        "job 3f2a91c0 started sora-2 (wan22)  attempt 2",
        "job 3f2a91c0 succeeded sora-2  4.1 s",
        "warning job 3f2a91c0 failed: Out of memory; lower the resolution. code=out_of_memory",
        "job 3f2a91c0 failed sora-2  13 min 0 s",
        "job 3f2a91c0 requeued preview  250 ms",
    ]


def test_what_else_is_on_a_terminal() -> None:
    stream = Terminal()
    configure_logging(stream)
    log = structlog.get_logger("framegate.test")
    log.info("worker_started", worker=JOB, device="cpu", models=["a", "b"], free=None)
    log.info("worker_started", models=[str(number) for number in range(62)])
    log.info("stopping", running_jobs=0, at_most=10.0)
    log.info("stopping", running_jobs=2, at_most=10.0)
    log.info("worker_stopping", running_jobs=0, at_most=10.0)
    log.info("worker_stopping", running_jobs=1, at_most=150.0)
    log.info("request", method="GET", path="/nowhere", status=404, ms=0.4, request_id="r1")
    log.info("request", method="GET", path="/v1/videos/x", status=500, ms=1200.0, request_id="r2")
    log.error("request_failed", request_id="r2")
    warnings.warn_explicit("old", DeprecationWarning, "library.py", 12)
    assert shown(stream) == [
        "worker started worker=3f2a91c0 device=cpu models=a,b free=None",
        "worker started models=62",
        "stopping",
        (
            "stopping: waiting for 2 running jobs, at most 10 s; Ctrl-C again ends at once, "
            "and they run again at the next start"
        ),
        "worker stopping",
        "worker stopping: finishing its job, at most 2 min 30 s; Ctrl-C again ends at once",
        "GET /nowhere 404 0 ms",
        "GET /v1/videos/x 500 1.2 s request_id=r2",
        "error request failed request_id=r2",
        "warning library.py:12: DeprecationWarning: old",
    ]


def test_a_traceback_that_a_library_has_logged_as_text() -> None:
    stream = Terminal()
    configure_logging(stream)
    text = 'Traceback (most recent call last):\n  File "app.py", line 1\nValueError: no \x1b[2J\n'
    logging.getLogger("uvicorn.error").error(text)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert [line.partition("error ")[2] or line for line in plain.splitlines()] == [
        "uvicorn: ValueError: no \\x1b[2J",
        *text.replace("\x1b", "\\x1b").splitlines(),
    ]


def test_warnings_are_lines_like_others() -> None:
    stream = io.StringIO()
    configure_logging(stream)
    warnings.warn_explicit("old", DeprecationWarning, "library.py", 12)
    [line] = lines_of(stream)
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "DeprecationWarning: old" in line["event"]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colours_where_nobody_wants_them(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    configure_logging(coloured)
    structlog.get_logger("framegate.test").error("broken")
    assert "\x1b[31merror\x1b[0m" in coloured.getvalue()
    monkeypatch.setenv(name, value)
    configure_logging(plain)
    structlog.get_logger("framegate.test").error("broken")
    assert "\x1b" not in plain.getvalue()
