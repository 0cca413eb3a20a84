"""The compact layout: a job comes back as it was, and takes little more than its request."""

from typing import Any, cast

import msgspec
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framegate.core.errors import UnreadableRecord
from framegate.core.fitting import fit
from framegate.core.jobs import Job, JobState
from framegate.core.models import FrameRule, ModelSpec
from framegate.core.planning import plan
from framegate.core.ports import Limits
from framegate.core.types import GenerationRequest, Shot, StoryboardShot, Task
from framegate.storage.jobs.compact import ENOUGH, encode_compact, expand, is_compact
from framegate.storage.jobs.records import decode_job
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.submissions import lane_of, model_of
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.schema import COMPACT, PLAIN
from tests.support.sample_jobs import make_job

SPEC = ModelSpec(
    id="test",
    summary="",
    backend="tests:Nothing",
    tasks=frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}),
    frames=FrameRule(1, 0, 1, 100),
)

words = st.sampled_from(
    ["", "a boat", "a boat\nanime", "anime", "sea. a boat. sky", '\x00\\"é\U0001f30a', "x" * 5000]
)
texts = st.one_of(words, st.text(max_size=20), st.lists(words, max_size=3).map("".join))


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    job = make_job("a")
    shots = [
        replace(job.shots[0], prompt=draw(texts), caption=draw(texts), negative_prompt=draw(texts))
        for _ in range(draw(st.integers(1, 4)))
    ]
    request = replace(
        job.request,
        prompt=draw(texts),
        negative_prompt=draw(texts),
        storyboard=tuple(StoryboardShot(text, 1.0) for text in draw(st.lists(texts, max_size=3))),
    )
    return replace(job, request=request, shots=tuple(shots))


@given(jobs())
def test_a_job_comes_back_as_it_was(job: Job) -> None:
    record = msgspec.json.decode(encode_compact(job))
    assert msgspec.convert(expand(record), Job) == job


def long_job(style: str = "", *, storyboard: bool = False, fragments: int = 64) -> Job:
    """Return a job with the longest prompts, in 64 shots."""
    scenes = tuple(
        StoryboardShot(f"{number:02}{'é' if number % 2 else 'e'}" * 380, 1.0) for number in range(64)
    )
    request: GenerationRequest[Any] = GenerationRequest(
        model="test",
        task=Task.TEXT_TO_VIDEO,
        prompt=" ".join(f"[{scene.duration}] {scene.prompt}" for scene in scenes)
        if storyboard
        else "p" * 99_000,
        negative_prompt="n" * 99_000,
        num_frames=640,
        num_fragments=fragments,
        storyboard=scenes if storyboard else (),
    )
    fitted = fit(SPEC, request)
    job = make_job("a", owner="alice")
    return replace(job, request=fitted.request, shots=plan(SPEC, fitted, 7, style_prompt=style))


@pytest.mark.parametrize("style", ["", "hand-drawn"])
@pytest.mark.parametrize("storyboard", [False, True])
async def test_the_longest_job_takes_little_more_than_its_request(
    store: ValkeyJobStore, client: redis.Redis, style: str, storyboard: bool
) -> None:
    job = long_job(style, storyboard=storyboard)
    sent = len((job.request.prompt + (job.request.negative_prompt or "")).encode())
    assert len(job.shots) == 64
    log_before = aof_bytes(client)
    job = await store.submit(job, limits=Limits())
    assert cast("int", client.memory_usage("fg:job:a", samples=0)) <= 1.2 * sent
    assert aof_bytes(client) - log_before <= 1.2 * sent
    assert await store.get("a") == job
    claimed = WorkerStore(client, "w").claim("q-test", ["test"])
    assert claimed is not None
    assert (claimed.request, claimed.shots) == (job.request, job.shots)
    assert claimed.shots[1].prompt is claimed.shots[2].prompt or storyboard
    assert claimed.state == JobState.RUNNING


def aof_bytes(client: redis.Redis) -> int:
    info = cast("dict[str, int]", client.info("persistence"))
    return info["aof_current_size"] + info["aof_buffer_length"]


async def test_jobs_without_long_repetitions_are_stored_as_before(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Workers of earlier versions run these; those of 0.1 see no model in the lane of the others."""
    short, long = long_job(fragments=1), long_job()
    texts = {"prompt": "p" * (ENOUGH // 2), "negative_prompt": "n" * (ENOUGH // 2)}
    request = replace(short.request, **texts)
    short = replace(short, id="short", request=request, shots=(replace(short.shots[0], **texts),))
    for job, schema in ((short, PLAIN), (long, COMPACT)):
        await store.submit(job, limits=Limits())
        assert client.hget(f"fg:job:{job.id}", "schema") == str(schema)
        assert is_compact(job) == (schema == COMPACT)
        lane = cast("str", client.hget(f"fg:job:{job.id}", "lane"))
        assert (lane, model_of(lane)) == (lane_of(job), "test")
        assert (msgspec.json.decode(lane)[4] == "") == (schema == COMPACT)
    assert msgspec.json.decode(cast("str", client.hget("fg:job:short", "job")), type=Job) == short


@pytest.mark.parametrize(
    "damage", [b'{"shots":[]}', b"[]", b'{"texts":{},"request":7}', b'{"texts":[],"request":{"prompt":[3]}}']
)
async def test_a_damaged_compact_record_is_an_error_of_its_kind(
    store: ValkeyJobStore, client: redis.Redis, damage: bytes
) -> None:
    await store.submit(long_job(), limits=Limits())
    client.hset("fg:job:a", "job", damage)
    with pytest.raises(UnreadableRecord, match="damaged"):
        decode_job(cast("dict[str, str]", client.hgetall("fg:job:a")))


def test_every_text_of_a_request_and_its_shots_is_interned() -> None:
    """A text field that is added must be interned as well, or be no text of a client's choice."""
    texts = {
        (kind.__name__, field.name)
        for kind in (GenerationRequest, StoryboardShot, Shot)
        for field in msgspec.structs.fields(kind)
        if field.type in (str, str | None)
    }
    interned = {name for name in texts if name[1] in ("prompt", "negative_prompt", "caption")}
    assert texts - interned == {
        ("GenerationRequest", "model"),
        ("GenerationRequest", "style"),
        ("Shot", "style"),
    }
