"""``framegate doctor``."""

import asyncio
import importlib.metadata
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from msgspec import Struct

from framegate.cli.app_context import AppContext, open_services
from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import print_json, print_line
from framegate.core.errors import FramegateError, PluginError
from framegate.core.models import ModelSpec
from framegate.core.plugins import load_object, missing_for
from framegate.core.settings import FILE_STORAGE
from framegate.storage import embedded
from framegate.storage.connections import connect_once, outages_as_unavailable
from framegate.storage.installation import Installation
from framegate.storage.server_check import check_server


class Finding(Struct, frozen=True):
    """One line of the report."""

    subject: str
    ok: bool
    detail: str


@click.command()
@json_option
@config_options
def doctor(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Report what is installed, what works, and how to fix the rest. Fails if something is wrong."""
    context = context_from(config_file, data_dir)
    findings = [
        Finding(
            "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}"
        ),
        Finding("device", True, _device()),
        _check("video encoder", _encoder),
        _check("storage", lambda: _storage(context)),
        *_queue(context),
        *(_plugin(status.name, status.version, status.error) for status in context.plugins.statuses),
        *(
            Finding("plugins", False, finding)
            for finding in context.plugins.health_findings(check_network=True)
        ),
        *(_check(f"model {spec.id}", partial(_backend, spec)) for spec in context.registry.specs.values()),
    ]
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
            print_line(f" {finding.subject}: {finding.detail}", mark=mark)
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)


def _check(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, look())
    except FramegateError as error:
        return Finding(subject, False, error.message)
    except Exception as error:
        return Finding(subject, False, f"{type(error).__name__}: {error}")


def _plugin(name: str, version: str, error: str) -> Finding:
    return Finding(f"plugin {name}", not error, error or version)


def _device() -> str:
    cards = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    return f"{len(cards)} NVIDIA GPU(s)" if cards else "no NVIDIA GPU; workers use the CPU"


def _encoder() -> str:
    import av

    av.Codec("libx264", "w")
    return f"PyAV {importlib.metadata.version('av')} with libx264"


def _storage(context: AppContext) -> str:
    context.open_artifacts().check()
    settings = context.settings
    return str(settings.server.data_path) if settings.storage.url == FILE_STORAGE else settings.storage.url


def _queue(context: AppContext) -> list[Finding]:
    """Return whether the queue's server can be used, what to change about it, and whose the files are."""
    if context.embedded:
        condition = embedded.look(context.settings.server.data_path)
        if condition == embedded.Condition.SILENT:
            return [_check("queue", _what_it_would_use)]
        if condition == embedded.Condition.LOADING:
            return [Finding("queue", True, "embedded, loading its data; until then calls get 503")]
    try:
        with outages_as_unavailable(), connect_once(context.queue_url) as client:
            server = check_server(client, context.settings.queue.prefix)
    except FramegateError as error:
        return [Finding("queue", False, error.message)]
    return [
        _check("queue", lambda: f"{server.name}, {asyncio.run(_load(context))}"),
        *(Finding("queue", False, f"{server.name}: {warning}.") for warning in server.warnings),
        _check("files", lambda: _files(context)),
    ]


def _what_it_would_use() -> str:
    return f"embedded, no server is running; it would use {embedded.find_server()}"


async def _load(context: AppContext) -> str:
    async with open_services(context) as services:
        counts = await services.core.jobs.counts()
        workers = await services.core.jobs.workers()
    return f"reachable; {counts.queued} queued, {counts.running} running, {len(workers)} worker(s) alive"


def _files(context: AppContext) -> str:
    with outages_as_unavailable(), connect_once(context.queue_url) as client:
        installation = Installation(client, context.settings.queue.prefix)
        installation.check_files(context.open_artifacts(), place=context.storage_place)
    return f"{context.storage_place} is what this queue's hosts use"


def _backend(spec: ModelSpec) -> str:
    if missing := missing_for(spec):
        raise PluginError(missing)
    load_object(spec.backend)
    return f"{spec.backend} can be imported"
