"""500 streams open at once on one process."""

import asyncio
from collections.abc import Callable

import aiohttp
import redis

from framegate.storage.embedded import socket_url
from tests.support.running import RunningServer

STREAMS = 500
CONFIG = """
[aliases.tiny]
model = "sora2-landscape-10s"
defaults = { width = 32, height = 32, duration = 0.2, fps = 10.0 }
"""


async def test_streams_hang_on_one_subscription_and_all_end(
    start_server: Callable[..., RunningServer],
) -> None:
    server = start_server(config=CONFIG)
    endings: list[bytes] = []
    subscriptions: list[int] = []

    async def follow(session: aiohttp.ClientSession, opened: asyncio.Event) -> None:
        body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "a boat"}]}
        async with session.post(f"{server.url}/v1/chat/completions", json=body) as answer:
            opened.set()
            lines = [line.strip() async for line in answer.content if line.strip()]
        endings.append(lines[-1])

    async def look(opened: list[asyncio.Event]) -> None:
        await asyncio.gather(*(event.wait() for event in opened))
        client = redis.Redis.from_url(socket_url(server.data_dir))
        subscriptions.append(len(client.client_list(_type="pubsub")))
        client.close()

    opened = [asyncio.Event() for _ in range(STREAMS)]
    connector, patience = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=500)
    async with aiohttp.ClientSession(connector=connector, timeout=patience) as session:
        await asyncio.gather(look(opened), *(follow(session, event) for event in opened))
    assert endings == [b"data: [DONE]"] * STREAMS
    assert subscriptions == [3], "the API's for all its streams and for keys, the worker's for cancels"
