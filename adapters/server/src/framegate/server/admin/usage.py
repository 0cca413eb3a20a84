"""Usage: what each key has used on each day."""

from datetime import date
from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from framegate.core.usage import KEPT_DAYS, UsageReport
from framegate.core.wiring import CoreServices


class UsageController(Controller):
    """Usage by day, in UTC, and key."""

    path = "/usage"

    @get("/", summary="What each key has used on each day")
    async def report(
        self,
        services: NamedDependency[CoreServices],
        days: Annotated[int, QueryParameter(ge=1, le=KEPT_DAYS)] = 1,
        day: FromQuery[date | None] = None,
        key: FromQuery[str | None] = None,
    ) -> UsageReport:
        """Return the usage of a ``day``, or of the last ``days``, of one ``key`` or all of them."""
        return await services.usage.report(days=days, day=day, owner=key)
