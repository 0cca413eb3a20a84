"""The dialect lightx2v, put together."""

from pathlib import Path

from litestar.di import NamedDependency, Provide
from litestar.types import ControllerRouterHandler
from msgspec import Struct

from framegate.media.network.upload import UrlUploader
from framegate.server.dialect import Dialect, DialectContext, provide_instance
from framegate.server.dialects.lightx2v.errors import error_response
from framegate.server.dialects.lightx2v.input_folder import InputFolder
from framegate.server.dialects.lightx2v.schemas import ErrorBody
from framegate.server.dialects.lightx2v.service_controller import ServiceController
from framegate.server.dialects.lightx2v.submission import SubmissionSettings, TaskSubmitter
from framegate.server.dialects.lightx2v.submission_controller import SubmissionController
from framegate.server.dialects.lightx2v.task_controller import FileController, OutputFolder, TaskController
from framegate.server.dialects.lightx2v.vocabulary import VocabularySetting
from framegate.server.health import HealthController
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[dialects.lightx2v]``.

    ``model`` and ``image_model`` are names of served models; ``input_dir`` is the folder below which
    ``image_path`` may name files, ``inputs`` in the data folder if empty.
    """

    model: str = "lightx2v"
    image_model: str = "lightx2v-image"
    vocabulary: VocabularySetting = "auto"
    input_dir: str = ""


def create(context: DialectContext) -> Dialect:
    """Return the dialect as the config describes it."""
    options = context.parse_options(Options)
    context.check_models("model", "image_model")
    folder = Path(options.input_dir).expanduser() if options.input_dir else context.data_path / "inputs"
    settings = SubmissionSettings(
        model=options.model,
        image_model=options.image_model,
        vocabulary=options.vocabulary,
        inputs=InputFolder(folder, max_bytes=context.max_input),
        max_input=context.max_input,
        uploader=UrlUploader(context.dial_policy, user_agent=context.user_agent),
    )

    def provide_submitter(request: HTTPRequest, client_jobs: NamedDependency[ClientJobs]) -> TaskSubmitter:
        return TaskSubmitter(request, client_jobs, context.services.jobs, settings)

    handlers: list[ControllerRouterHandler] = [
        SubmissionController,
        TaskController,
        ServiceController,
        FileController,
    ]
    if context.prefix:
        # At the root the server's own /health is this one.
        handlers.append(HealthController)
    return Dialect(
        handlers=handlers,
        dependencies={
            "settings": provide_instance(settings),
            "submitter": Provide(provide_submitter, sync_to_thread=False),
            "outputs": provide_instance(OutputFolder(str(context.data_path / "outputs"))),
        },
        error_response=error_response,
        path_prefixes=("/v1/tasks", "/v1/files", "/v1/service"),
        error_body=ErrorBody,
        unknown_fields="ignore",
    )
