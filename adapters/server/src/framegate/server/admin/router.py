"""The routes of the server's own administration, ``/admin``: for keys with the scope ``admin``.

Without any keys it is open to this machine, like everything else.
"""

from collections.abc import Mapping

from litestar import Router
from litestar.di import Provide

from framegate.server.admin.keys import KeyController
from framegate.server.admin.models import ModelController, OwnedModelController
from framegate.server.admin.usage import UsageController
from framegate.server.admin.workers import WorkerController
from framegate.server.auth.keys import ADMIN_OPT

ADMIN_PATH = "/admin"


def admin_router(dependencies: Mapping[str, Provide] | None = None) -> Router:
    """Return the routes below `ADMIN_PATH`, which need the dependency ``services``.

    A dialect that mounts them below its own prefix has it already.
    """
    return Router(
        ADMIN_PATH,
        route_handlers=[
            KeyController,
            WorkerController,
            ModelController,
            OwnedModelController,
            UsageController,
        ],
        dependencies=dependencies,
        opt={ADMIN_OPT: True},
        tags=["admin"],
    )
