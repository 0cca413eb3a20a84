"""The dialect framegate, put together."""

from typing import Any

import msgspec
from litestar import Response
from msgspec import Struct
from msgspec.structs import replace

from framegate.core.errors import ArtifactGone
from framegate.core.registry import FALLBACK_MODEL
from framegate.server.admin.router import admin_router
from framegate.server.dialect import Dialect, DialectContext, provide_instance
from framegate.server.dialects.framegate.answers import JobObjects
from framegate.server.dialects.framegate.catalogue_controller import CatalogueController, CharacterController
from framegate.server.dialects.framegate.events import JobEvents
from framegate.server.dialects.framegate.job_controller import JobController, JobFileController
from framegate.server.dialects.framegate.submission import JobSubmitter
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.errors.field_errors import shortened
from framegate.server.errors.problem import PROBLEM_JSON, Problem, problem_response
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[dialects.framegate]``; ``model`` serves the requests that name none."""

    model: str = FALLBACK_MODEL


def create(context: DialectContext) -> Dialect:
    """Return the dialect as the config describes it."""
    options = context.parse_options(Options)
    context.check_models("model")
    objects = JobObjects(context)
    # At the root the server has its own administration already.
    administration = [admin_router()] if context.prefix else []
    return Dialect(
        handlers=[
            JobController,
            JobFileController,
            CatalogueController,
            CharacterController,
            *administration,
        ],
        dependencies={
            "context": provide_instance(context),
            "objects": provide_instance(objects),
            "events": provide_instance(JobEvents(context.services, objects)),
            "submitter": provide_instance(JobSubmitter(context, model=options.model)),
        },
        error_response=error_response,
        path_prefixes=("/jobs", "/models", "/styles", "/loras", "/characters", "/dialects", "/me"),
        error_body=Problem,
        error_media_type=PROBLEM_JSON,
    )


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    """Return the response for an error, as RFC 9457 specifies it."""
    if isinstance(error_info.error, ArtifactGone) and not error_info.param:
        error_info = replace(error_info, status=410)
    return problem_response(error_info, request_id_of(request.scope), _value(request, error_info.param))


def _value(request: HTTPRequest, name: str | None) -> Any:
    """Return the value of a field of the request's body, as errors show it."""
    given = getattr(request.scope["state"].get("body"), name, None) if name else None
    return shortened(msgspec.to_builtins(given))
