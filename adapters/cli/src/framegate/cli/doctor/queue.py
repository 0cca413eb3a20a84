"""The queue's server, and the files that belong to its jobs."""

import asyncio
import time

import redis

from framegate.cli.app_context import AppContext, open_services
from framegate.cli.doctor.findings import Finding, check
from framegate.core.errors import FramegateError
from framegate.core.settings import FILE_STORAGE
from framegate.storage import embedded
from framegate.storage.connections import connect_once, outages_as_unavailable
from framegate.storage.installation import Installation, read_mark
from framegate.storage.server_check import ServerInfo, check_server

MAX_CLOCK_DIFFERENCE = 2.0
"""Seconds by which this host's clock may differ from Valkey's, by which jobs are timed."""


def check_storage(context: AppContext) -> Finding:
    """Return whether files can be written and read."""
    return check("storage", lambda: _storage(context))


def check_queue(context: AppContext) -> list[Finding]:
    """Return whether the queue's server can be used, what to change about it, and whose the files are."""
    if context.embedded:
        condition = embedded.look(context.settings.server.data_path)
        if condition == embedded.Condition.SILENT:
            return [check("queue", _what_it_would_use)]
        if condition == embedded.Condition.LOADING:
            return [Finding("queue", True, "embedded, loading its data; until then calls get 503")]
    try:
        with (
            context.origins.locating(),
            outages_as_unavailable(),
            connect_once(context.queue_url) as client,
        ):
            server, ahead = check_server(client, context.settings.queue.prefix), _clock_difference(client)
    except FramegateError as error:
        return [Finding("queue", False, error.message)]
    return [
        check("queue", lambda: f"{server.name}, {asyncio.run(_load(context))}"),
        *_durability(server),
        _clock(ahead),
        check("files", lambda: _files(context)),
    ]


def _storage(context: AppContext) -> str:
    context.open_artifacts().check()
    settings = context.settings
    return str(settings.server.data_path) if settings.storage.url == FILE_STORAGE else settings.storage.url


def _what_it_would_use() -> str:
    return f"embedded, no server is running; it would use {embedded.find_server()}"


def _durability(server: ServerInfo) -> list[Finding]:
    if not server.warnings:
        return [Finding("durability", True, "the server keeps an append-only file and evicts nothing")]
    return [Finding("queue", False, f"{server.name}: {warning}.") for warning in server.warnings]


async def _load(context: AppContext) -> str:
    async with open_services(context) as services:
        counts = await services.core.jobs.counts()
        workers = await services.core.jobs.workers()
    return f"reachable; {counts.queued} queued, {counts.running} running, {len(workers)} worker(s) alive"


def _clock_difference(client: redis.Redis) -> float:
    """Return by how many seconds this host's clock is ahead of Valkey's."""
    before = time.time()
    seconds, microseconds = client.time()
    return (before + time.time()) / 2 - (seconds + microseconds / 1e6)


def _clock(ahead: float) -> Finding:
    if abs(ahead) <= MAX_CLOCK_DIFFERENCE:
        return Finding("clock", True, "as the queue's server has it")
    which = "ahead of" if ahead > 0 else "behind"
    return Finding(
        "clock",
        False,
        f"this host's clock is {abs(ahead):.1f} s {which} that of the queue's server, by which jobs are "
        "timed; let both follow NTP",
    )


def _files(context: AppContext) -> str:
    artifacts = context.open_artifacts()
    with outages_as_unavailable(), connect_once(context.queue_url) as client:
        installation = Installation(client, context.settings.queue.prefix)
        installation.check_files(artifacts, place=context.storage_place)
    return f"{context.storage_place} is what this queue's hosts use (installation {read_mark(artifacts)})"
