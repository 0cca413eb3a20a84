"""openai-videos: a retry of a refused request is new work, not an earlier request's video."""

# pyright: reportDeprecated=false
# The SDK calls this API deprecated, since OpenAI no longer hosts it.

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI

from tests.dialects.losing_answers import losing_answers
from tests.support.running import RunningServer, eventually
from tests.support.small_models import SMALL_MODELS

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


class ImpatientClient(OpenAI):
    """The SDK, which otherwise waits as ``Retry-After`` says; instead ``before_retry`` is called."""

    before_retry: Callable[[], object] | None = None

    def _calculate_retry_timeout(
        self, remaining_retries: int, options: Any, response_headers: Any = None
    ) -> float:
        if self.before_retry:
            self.before_retry()
        return 0.02


@pytest.fixture(scope="module")
def tight_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server where two jobs may wait, whose only worker is busy."""
    config = SMALL_MODELS + "[queue]\nmax_queued = 2\n"
    running = RunningServer(tmp_path_factory.mktemp("tight") / "data", config=config).wait_until_ready()
    with OpenAI(base_url=f"{running.url}/v1", api_key="x") as client:
        busy = client.videos.create(prompt="busy", model="endless")
        eventually(lambda: client.videos.retrieve(busy.id).status == "in_progress", what="the busy worker")
        yield running
        client.videos.delete(busy.id)
    assert running.stop() == 0, running.log_text()


@pytest.fixture
def server(tight_server: RunningServer) -> Iterator[RunningServer]:
    yield tight_server
    for video in waiting(tight_server):
        requests.delete(f"{tight_server.url}/v1/videos/{video}", timeout=60)


@pytest.fixture
def prompt(request: pytest.FixtureRequest) -> str:
    """Each test's own, as refusals are remembered for a minute."""
    return str(request.node.name)


def waiting(server: RunningServer) -> list[str]:
    """The ids of the videos that wait, newest first."""
    videos: list[dict[str, Any]] = requests.get(f"{server.url}/v1/videos?limit=100", timeout=60).json()[
        "data"
    ]
    return [video["id"] for video in videos if video["status"] == "queued"]


def create(url: str, prompt: str, **options: Any) -> str | int:
    """The id of a video, or the status with which the SDK gave up."""
    before_retry = options.pop("before_retry", None)
    with ImpatientClient(base_url=f"{url}/v1", api_key="x", **options) as client:
        client.before_retry = before_retry
        try:
            return client.videos.create(prompt=prompt, seconds="4").id
        except openai.APIStatusError as error:
            return error.status_code


def send(server: RunningServer, retries: int, prompt: str) -> requests.Response:
    headers = {"X-Stainless-Retry-Count": str(retries)}
    return requests.post(
        f"{server.url}/v1/videos", json={"prompt": prompt, "seconds": "4"}, headers=headers, timeout=60
    )


def test_six_deliberate_repeats_in_turn(server: RunningServer, prompt: str) -> None:
    made = [create(server.url, prompt) for _ in range(6)]
    ids = [each for each in made if each != 503]
    assert made == [*ids, 503, 503, 503, 503]
    assert waiting(server) == ids[::-1]


def test_six_deliberate_repeats_at_once(server: RunningServer, prompt: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(create, [server.url] * 6, [prompt] * 6))
    ids = [each for each in made if each != 503]
    assert len(ids) == 2
    assert set(waiting(server)) == set(ids)


def test_a_refused_repeat_that_finds_room_is_a_video_of_its_own(server: RunningServer, prompt: str) -> None:
    first, second = create(server.url, prompt), create(server.url, prompt)
    made = create(
        server.url,
        prompt,
        before_retry=lambda: requests.delete(f"{server.url}/v1/videos/{first}", timeout=60),
        max_retries=1,
    )
    assert made not in (first, second, 503)
    assert waiting(server) == [made, second]
    # Nothing is left of its refusal: the next retry is given it again.
    assert send(server, 2, prompt).json()["id"] == made


def test_a_lost_answer_is_found_again_though_others_were_refused(server: RunningServer, prompt: str) -> None:
    """Each client's refusal is used up by its own retry, and the next retry finds the video."""
    with losing_answers(server.url, 1) as (url, seen):
        made = create(url, prompt)
    assert seen == ["0", "1"]
    assert waiting(server) == [made]
    second = create(server.url, prompt)
    assert [create(server.url, prompt, max_retries=0) for _ in range(2)] == [503, 503]
    # Two clients gave up: for a minute two retries count as theirs, and are refused as well.
    assert [send(server, 1, prompt).status_code for _ in range(3)] == [503] * 3
    for video in (made, second):
        requests.delete(f"{server.url}/v1/videos/{video}", timeout=60)
    ids = [send(server, 1, prompt).json()["id"] for _ in range(2)]
    assert waiting(server) == ids[::-1]
    assert send(server, 2, prompt).json()["id"] == ids[1]


def test_six_lost_answers_are_six_videos(small_server: RunningServer, prompt: str) -> None:
    with (
        losing_answers(small_server.url, 1) as (url, seen),
        ThreadPoolExecutor(6) as pool,
    ):
        made = list(pool.map(create, [url] * 6, [prompt] * 6))
        assert sorted(seen) == ["0"] * 6 + ["1"] * 6
    assert len(set(made)) == 6
    with OpenAI(base_url=f"{small_server.url}/v1", api_key="x") as client:
        same = [video.id for video in client.videos.list(limit=100) if video.prompt == prompt]
    assert set(same) == set(made)


def test_the_refusal_of_another_request_does_not_count(server: RunningServer, prompt: str) -> None:
    first = send(server, 0, prompt).json()["id"]
    assert send(server, 0, "another boat").status_code == 200
    assert send(server, 0, "a third boat").status_code == 503
    assert send(server, 1, prompt).json()["id"] == first


def test_a_key_finds_its_video_though_the_queue_is_full(server: RunningServer, prompt: str) -> None:
    def keyed(key: str) -> requests.Response:
        return requests.post(
            f"{server.url}/v1/videos",
            json={"prompt": prompt},
            headers={"Idempotency-Key": key, "X-Stainless-Retry-Count": "1"},
            timeout=60,
        )

    first, second = keyed("refusals-1").json()["id"], keyed("refusals-2").json()["id"]
    assert keyed("refusals-3").status_code == 503
    assert (keyed("refusals-1").json()["id"], keyed("refusals-2").json()["id"]) == (first, second)
    requests.delete(f"{server.url}/v1/videos/{first}", timeout=60)
    third = keyed("refusals-3").json()["id"]
    assert third not in (first, second)
    assert keyed("refusals-3").json()["id"] == third
