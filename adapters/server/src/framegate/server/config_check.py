"""Check a config without serving it."""

import asyncio

import structlog
from msgspec.structs import replace

from framegate.cli.app_context import AppContext, open_services
from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import Unavailable
from framegate.core.settings import FILE_STORAGE
from framegate.server.app import plan_app
from framegate.server.auth.key_checks import no_keys, require_keys
from framegate.server.auth.key_ring import KeyRing
from framegate.server.auth.origins import is_loopback_host
from framegate.server.listening import check_address
from framegate.server.webhooks.events import Signer
from framegate.storage import embedded

log = structlog.get_logger(__name__)


def check_config(context: AppContext) -> None:
    """Plan the app as ``framegate serve`` would.

    Whether there are stored keys may be unknown, as long as no server runs; that is a warning in the log.

    Raises:
        ConfigError: The settings are wrong; see `plan_app`, `require_keys` and `check_address`.
    """
    settings, found = context.settings, ErrorCollector()
    # The services take settings as right that may be wrong; of those, only the app says what is wrong.
    local = replace(
        context,
        settings=replace(
            settings,
            storage=replace(settings.storage, url=FILE_STORAGE),
            fetch=replace(settings.fetch, allow=()),
        ),
    )

    async def build() -> None:
        with found.catching():
            check_address(settings.server.host, settings.server.port)
        with found.catching():
            Signer(settings.webhooks.secrets)
        async with open_services(local) as services:
            keys = KeyRing((), services.connections.keys)
            with found.catching():
                keys = KeyRing(settings.auth.keys, services.connections.keys, defaults=settings.key_defaults)
            with found.catching():
                plan_app(
                    services=services.core,
                    settings=settings,
                    dialects=context.plugins.dialects,
                    keys=keys,
                    third_party=context.plugins.third_party_dialects,
                )
            # Whether there are others makes no difference to those that are there, nor on loopback.
            if not settings.auth.keys and not is_loopback_host(settings.server.host):
                try:
                    with found.catching():
                        if context.embedded and not embedded.has_data(settings.server.data_path):
                            raise no_keys(settings.server.host)
                        await require_keys(keys, settings.server.host)
                except Unavailable as error:
                    log.warning("stored_keys_not_checked", reason=error.message)
        found.raise_errors()

    asyncio.run(build())
