"""The websockets, with all messages in one order."""

import asyncio
from typing import Any, TypeAlias

from aiohttp import WSCloseCode, web
from msgspec import Struct

Message: TypeAlias = tuple[str, Any] | bytes


class Connection(Struct, frozen=True, eq=False):
    socket: web.WebSocketResponse
    transport: asyncio.Transport


class Sockets:
    """One websocket per client id. `send` may be called from any thread."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}
        self.features: dict[str, dict[str, Any]] = {}
        """What the clients announce."""
        self._waiting = asyncio.Queue[tuple[Message, str | None]]()
        self._loop = asyncio.get_running_loop()

    def add(self, client_id: str, connection: Connection) -> None:
        self._open[client_id] = connection

    def remove(self, client_id: str, connection: Connection) -> None:
        if self._open.get(client_id) is connection:
            del self._open[client_id]
            self.features.pop(client_id, None)

    def send(self, message: Message, client_id: str | None = None) -> None:
        """Send to one client, or to all."""
        self._loop.call_soon_threadsafe(self._waiting.put_nowait, (message, client_id))

    async def deliver(self) -> None:
        while True:
            message, client_id = await self._waiting.get()
            if client_id is None:
                receivers = list(self._open.values())
            else:
                receivers = [self._open[client_id]] if client_id in self._open else []
            for socket in [receiver.socket for receiver in receivers]:
                try:
                    if isinstance(message, bytes):
                        await socket.send_bytes(message)
                    else:
                        await socket.send_json({"type": message[0], "data": message[1]})
                except ConnectionError:
                    continue

    def drop(self) -> None:
        """Break every connection without closing it."""
        for connection in self._open.values():
            connection.transport.abort()

    async def close(self) -> None:
        for connection in list(self._open.values()):
            await connection.socket.close(code=WSCloseCode.GOING_AWAY)
