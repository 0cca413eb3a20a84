"""Opening the server that a command works on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from framegate.cli.app_context import open_services
from framegate.cli.log import configure_logging
from framegate.cli.options import Target, context_from
from framegate.cli.servers.local import LocalServer
from framegate.cli.servers.protocol import Server

if TYPE_CHECKING:
    from framegate.cli.servers.remote import RemoteServer

Answer = TypeVar("Answer")


def run_on_server(target: Target, operation: Callable[[Server], Awaitable[Answer]]) -> Answer:
    """Return the answer of an operation on the target.

    Raises:
        FramegateError: There is no such server, it can't be reached, or it refuses the operation.
    """
    if target.url:
        return run_on_remote(target, operation)
    context = context_from(target.config_file, target.data_dir)
    context.require_queue()

    async def run() -> Answer:
        async with open_services(context) as services:
            return await operation(LocalServer(services.core))

    return asyncio.run(run())


def run_on_remote(target: Target, operation: "Callable[[RemoteServer], Awaitable[Answer]]") -> Answer:
    """Return the answer of an operation on the server at the target's URL.

    Raises:
        FramegateError: It can't be reached, or it refuses the operation.
    """
    from framegate.cli.servers.remote import open_remote

    if not logging.getLogger().handlers:
        configure_logging(level=logging.WARNING)

    async def run() -> Answer:
        async with open_remote(target.url, target.key) as server:
            return await operation(server)

    return asyncio.run(run())
