"""The configuration of uvicorn's server."""

import asyncio
from typing import Any, Literal

import uvicorn

from framegate.core.settings import ServerSettings
from framegate.server.connections.file_limit import default_max_connections
from framegate.server.connections.tracker import ConnectionTracker
from framegate.server.process_state import part_of
from framegate.server.requests.forwarded import TrustedProxies


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration for an app, by ``[server]``; ``max_files`` may be open at once.

    With ``lifespan`` "off" whoever runs the server starts and ends what the app needs.
    """

    def __init__(
        self, app: Any, settings: ServerSettings, max_files: int, *, lifespan: Literal["auto", "off"] = "auto"
    ) -> None:
        super().__init__(
            app,
            lifespan=lifespan,
            host=settings.host,
            port=settings.port,
            http=asyncio.Protocol,  # `HttpServer` serves connections itself
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # see `framegate.server.requests.forwarded`
            timeout_graceful_shutdown=max(1, round(settings.shutdown_grace)),
        )
        self.server_settings = settings
        self.tracker = ConnectionTracker(
            settings,
            part_of(settings.max_connections, settings.api_processes) or default_max_connections(max_files),
            TrustedProxies(settings.trusted_proxies),
        )
