"""The dialect wan22-predict, put together."""

from framegate.server.dialect import Dialect, DialectContext, provide_instance
from framegate.server.dialects.wan22_predict.controllers import (
    Options,
    Page,
    PageController,
    PredictController,
)
from framegate.server.dialects.wan22_predict.errors import error_response
from framegate.server.dialects.wan22_predict.schemas import ErrorBody


def create(context: DialectContext) -> Dialect:
    """Return the dialect as the config describes it."""
    options = context.parse_options(Options)
    context.check_models("model")
    return Dialect(
        handlers=[PredictController, PageController],
        dependencies={
            "options": provide_instance(options),
            "page": provide_instance(Page(context)),
        },
        error_response=error_response,
        path_prefixes=("/predict", "/predict-page"),
        error_body=ErrorBody,
    )
