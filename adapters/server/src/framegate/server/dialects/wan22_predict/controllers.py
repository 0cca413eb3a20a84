"""wan22-predict's endpoints: the one call, and the page."""

import base64
from pathlib import Path
from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect
from msgspec import Meta, Struct

from framegate.core import audit
from framegate.core.concurrency import FILE_THREADS
from framegate.core.wiring import CoreServices
from framegate.server.dialect import PUBLIC, DialectContext
from framegate.server.dialects.wan22_predict.convert import details, generation, rules
from framegate.server.dialects.wan22_predict.schemas import Prediction, PredictRequest
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.requests.jobs import ClientJobs, require_result
from framegate.server.requests.paths import has_trailing_slash
from framegate.server.responses.static_files import Asset, load_assets, send_asset
from framegate.server.responses.waiting import wait_for_job

_STATIC = Path(__file__).parent / "static"
_POLICY = "default-src 'self'; img-src 'self' blob: https: http:; media-src blob:; frame-ancestors 'none'"
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
    """The table ``[dialects.wan22-predict]``: the served ``model``, and a call's time limit in seconds."""

    model: str = "Wan2.2-TI2V-5B"
    timeout: Annotated[float, Meta(gt=0)] = 600.0


class PredictController(Controller):
    """Videos, by one call that waits for the result."""

    @post(
        "/predict",
        status_code=200,
        summary="Make a video and respond with it",
        opt=documents(PredictRequest, _EXAMPLES),
    )
    async def predict(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        options: NamedDependency[Options],
    ) -> Prediction:
        """Submit a job, wait for it, and return its video as base64."""
        body = await read_json(request, PredictRequest, rules)
        job = await client_jobs.submit(generation(options.model, body))
        job = await wait_for_job(request, services.jobs, job, options.timeout)
        artifact = require_result(job)
        video = await FILE_THREADS.run(_encoded, await services.results.path(artifact))
        audit.record("result_downloaded", job_id=job.id, delivery="answer", bytes=artifact.size)
        return Prediction(video, details(body, job))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


class Page:
    """The web page's files, and the prefix below which it is mounted."""

    def __init__(self, context: DialectContext) -> None:
        self.assets: dict[str, Asset] = load_assets(_STATIC)
        self.prefix = context.prefix


class PageController(Controller):
    """The page, and its assets below ``predict-page/``; all its links are relative."""

    include_in_schema = False
    opt = PUBLIC

    @get("/")
    async def page(self, request: HTTPRequest, page: NamedDependency[Page]) -> Response[bytes] | Redirect:
        """Send the page, from a path that ends in a slash."""
        if page.prefix and not has_trailing_slash(request.scope):
            return Redirect(f"{page.prefix.rsplit('/', 1)[-1]}/")
        return send_asset(request, page.assets, "index.html", policy=_POLICY)

    @get("/predict-page/{name:str}")
    async def page_asset(
        self, request: HTTPRequest, page: NamedDependency[Page], name: FromPath[str]
    ) -> Response[bytes]:
        """Send a script or style of the page."""
        return send_asset(request, page.assets, name, policy=_POLICY)
