"""lightx2v: the routes, composed."""

from pathlib import Path

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from framegate.server.dialect import Dialect, DialectContext
from framegate.server.dialects.lightx2v.convert import Setting
from framegate.server.dialects.lightx2v.errors import error_response
from framegate.server.dialects.lightx2v.media import InputFolder
from framegate.server.dialects.lightx2v.result_routes import result_routes
from framegate.server.dialects.lightx2v.schemas import ErrorBody
from framegate.server.dialects.lightx2v.state_routes import state_routes
from framegate.server.dialects.lightx2v.submit_routes import submit_routes
from framegate.server.dialects.lightx2v.tasks import Models, Tasks
from framegate.server.health import health_route


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """``[dialects.lightx2v]``. ``model`` and ``image_model`` are names of served models; ``input_dir`` is the
    folder below which ``image_path`` may name files, ``inputs`` in the data folder if empty."""

    model: str = "lightx2v"
    image_model: str = "lightx2v-image"
    vocabulary: Setting = "auto"
    input_dir: str = ""


def create(context: DialectContext) -> Dialect:
    options = context.parse_options(Options)
    folder = Path(options.input_dir).expanduser() if options.input_dir else context.data_path / "inputs"
    tasks = Tasks(
        context.services,
        dialect=context.name,
        models=Models(options.model, options.image_model),
        vocabulary=options.vocabulary,
        inputs=InputFolder(folder, max_bytes=context.max_input),
        max_input=context.max_input,
    )
    handlers: list[HTTPRouteHandler] = [
        *submit_routes(tasks),
        *state_routes(tasks),
        *result_routes(tasks, output_root=str(context.data_path / "outputs")),
    ]
    if context.prefix:
        # At the root the server's own /health is this one.
        handlers.append(health_route())
    return Dialect(
        handlers=handlers,
        error_response=error_response,
        path_prefixes=("/v1/tasks", "/v1/files", "/v1/service"),
        error_body=ErrorBody,
    )
