"""wan22-predict: the one call, and the page."""

import asyncio
import base64
from pathlib import Path
from typing import Annotated, Any

import structlog
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect
from msgspec import Meta, Struct

from framegate.core.errors import GenerationFailed, InvalidRequest, JobCancelled
from framegate.core.jobs import Job, JobState
from framegate.core.results import ResultAccess
from framegate.core.submission import Submission
from framegate.core.wiring import CoreServices
from framegate.server.auth.keys import client_of
from framegate.server.dialect import PUBLIC, Dialect, DialectContext
from framegate.server.dialects.wan22_predict.convert import details, generation, rules
from framegate.server.dialects.wan22_predict.schemas import ErrorBody, ErrorItem, Prediction, PredictRequest
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.requests.paths import has_trailing_slash
from framegate.server.responses.static_files import load_assets, send_asset
from framegate.server.responses.waiting import wait_for_job

_STATIC = Path(__file__).parent / "static"
_POLICY = "default-src 'self'; img-src 'self' blob: https: http:; media-src blob:; frame-ancestors 'none'"
_FIELDS = {"image": "image_url"}
_EXAMPLES: dict[str, Any] = {
    "Text to video": {
        "prompt": "Two anthropomorphic cats in comfy boxing gear fight on a spotlighted stage",
        "num_frames": 49,
        "num_inference_steps": 30,
        "seed": 42,
    },
    "Image to video": {"prompt": "The cat turns its head", "image_url": "https://example.com/cat.png"},
}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """``[dialects.wan22-predict]``. ``timeout`` is how many seconds a call may take."""

    model: str = "Wan2.2-TI2V-5B"
    timeout: Annotated[float, Meta(gt=0)] = 600.0


def create(context: DialectContext) -> Dialect:
    options = context.parse_options(Options)
    return Dialect(
        handlers=[_predict_route(context.services, context.name, options), *_page_routes(context.prefix)],
        error_response=error_response,
        path_prefixes=("/predict", "/predict-page"),
        error_body=ErrorBody,
    )


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    if error_info.status == 401:
        return Response(ErrorBody(f"Unauthorized. {error_info.message}"), status_code=401)
    items = [
        ErrorItem(error.field, error.kind, error.message, error.input) for error in error_info.field_errors
    ]
    if not items and isinstance(error_info.error, InvalidRequest) and error_info.param:
        body = request.scope["state"].get("body")
        by_base64 = error_info.param == "image" and getattr(body, "image_base64", None) is not None
        field = "image_base64" if by_base64 else _FIELDS.get(error_info.param, error_info.param)
        items = [ErrorItem(field, "value_error", error_info.message)]
        return Response(ErrorBody(f"{field}: {error_info.message}", items), status_code=error_info.status)
    # The document knows no 409: a job that someone else cancelled is an error of the server's to this client.
    status = 500 if isinstance(error_info.error, JobCancelled) else error_info.status
    return Response(ErrorBody(error_info.message, items), status_code=status)


def _predict_route(services: CoreServices, dialect: str, options: Options) -> HTTPRouteHandler:
    @post(
        "/predict",
        status_code=200,
        summary="Make a video and answer with it",
        opt=documents(PredictRequest, _EXAMPLES),
    )
    async def predict(request: HTTPRequest) -> Prediction:
        body = await read_json(request, PredictRequest, rules)
        job = await services.jobs.submit(
            Submission(
                dialect=dialect,
                request=generation(options.model, body),
                client=client_of(request.scope),
                request_id=request_id_of(request.scope),
            )
        )
        structlog.contextvars.bind_contextvars(job_id=job.id)
        job = await wait_for_job(request, services.jobs, job, options.timeout)
        return Prediction(await _video(services.results, job), details(job))

    return predict


async def _video(results: ResultAccess, job: Job) -> str:
    """Raises:
    JobCancelled, GenerationFailed: there is no video.
    """
    if job.state == JobState.CANCELLED:
        raise JobCancelled
    if not job.artifacts:
        raise GenerationFailed(job.error.message if job.error else "The generation failed.")
    path = await results.path(job.artifacts[0])
    return await asyncio.to_thread(_encoded, path)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _page_routes(prefix: str) -> list[HTTPRouteHandler]:
    """The page, and its assets beside it under ``predict-page/``; all its links are relative."""
    assets = load_assets(_STATIC)

    @get("/", opt=dict(PUBLIC), include_in_schema=False)
    async def page(request: HTTPRequest) -> Response[bytes] | Redirect:
        if prefix and not has_trailing_slash(request.scope):
            return Redirect(f"{prefix.rsplit('/', 1)[-1]}/")
        return send_asset(request, assets, "index.html", policy=_POLICY)

    @get("/predict-page/{name:str}", opt=dict(PUBLIC), include_in_schema=False)
    async def page_asset(request: HTTPRequest, name: FromPath[str]) -> Response[bytes]:
        return send_asset(request, assets, name, policy=_POLICY)

    return [page, page_asset]
