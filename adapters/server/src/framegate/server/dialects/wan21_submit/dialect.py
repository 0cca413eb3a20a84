"""The dialect wan21-submit, put together."""

from framegate.server.dialect import Dialect, DialectContext, provide_instance
from framegate.server.dialects.wan21_submit.controllers import FileController, Options, RequestController
from framegate.server.dialects.wan21_submit.errors import error_response
from framegate.server.dialects.wan21_submit.schemas import ErrorBody
from framegate.server.responses.result_files import ResultFiles


def create(context: DialectContext) -> Dialect:
    """Return the dialect as the config describes it."""
    options = context.parse_options(Options)
    context.check_models("model")
    return Dialect(
        handlers=[RequestController],
        root_handlers=[FileController],
        dependencies={
            "options": provide_instance(options),
            "files": provide_instance(ResultFiles(context, "/videos/{name}", at_root=True)),
        },
        error_response=error_response,
        path_prefixes=("/video",) if context.prefix else ("/video", "/videos"),
        error_body=ErrorBody,
        unknown_fields="ignore",
    )
