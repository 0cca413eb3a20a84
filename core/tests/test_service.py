"""What a dialect may call, over ports in memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from framegate.core.errors import (
    ArtifactGone,
    InvalidMedia,
    InvalidRequest,
    JobExists,
    JobNotFound,
    JobUnfinished,
    KeyLimitReached,
    ModelNotFound,
    NotFound,
    PlanRequired,
    QueueFull,
)
from framegate.core.fitting import FittedRequest, fit
from framegate.core.jobs import Job, JobError, JobState
from framegate.core.models import ModelSpec
from framegate.core.ports import BytesSource, FileSource, IdempotencyKey, QueueCounts, WorkerInfo
from framegate.core.registry import ModelConfig
from framegate.core.submission import Client, Submission
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, StoryboardShot, Task
from tests.support.service_stand import ALICE, BOB, BROKEN, PICTURE, ServiceStand


@pytest.fixture
def stand(tmp_path: Path) -> ServiceStand:
    return ServiceStand(tmp_path)


async def test_a_submitted_job_is_fitted_planned_and_kept(stand: ServiceStand) -> None:
    job = await stand.submit(num_frames=100, width=650, seed=5, num_outputs=1)
    assert await stand.services.jobs.get(job.id) == job
    assert (job.state, job.owner, job.dialect, job.request_id) == (JobState.QUEUED, "alice", "test", "r1")
    assert (job.model, job.served_by, job.queue, job.seed) == ("preview", "preview", "q-preview", 5)
    assert [shot.frames_kept for shot in job.shots] == [50, 50]
    assert [shot.width for shot in job.shots] == [640, 640]
    assert [change.field for change in job.changes] == ["width"]
    assert await stand.services.jobs.queue_position(job) == 1


async def test_without_a_seed_each_job_has_its_own(stand: ServiceStand) -> None:
    seeds = {(await stand.submit()).seed for _ in range(10)}
    assert len(seeds) == 10
    assert (await stand.submit(seed=0)).seed == 0


async def test_a_catalogues_name_runs_on_the_model_behind_it(stand: ServiceStand) -> None:
    job = await stand.submit(model="api-video")
    assert (job.model, job.served_by) == ("api-video", "preview")
    assert sum(shot.frames_kept for shot in job.shots) == 96
    assert stand.services.jobs.registry.resolve("api-video").spec.id == "preview"


async def test_inputs_are_stored_and_give_the_size(stand: ServiceStand) -> None:
    job = await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE)
    assert job.inputs == (MediaRef(MediaKind.IMAGE, "inputs/1", 1000, 500, size=len(PICTURE.data)),)
    assert (job.shots[0].width, job.shots[0].height) == (768, 384)
    film = await stand.submit(Task.VIDEO_TO_VIDEO, video=PICTURE)
    assert film.request.video is not None
    assert film.request.video.kind == MediaKind.VIDEO
    assert not stand.media.discarded


async def test_a_request_is_fitted_again_only_if_inputs_changed_it(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[GenerationRequest] = []

    def counting(spec: ModelSpec, request: GenerationRequest) -> FittedRequest:
        fitted.append(request)
        return fit(spec, request)

    for module in ("admission", "inputs", "remixing"):
        monkeypatch.setattr(f"framegate.core.{module}.fit", counting)
    await stand.submit()
    assert [request.image for request in fitted] == [None]
    fitted.clear()
    job = await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE)
    assert [request.image for request in fitted] == [None, job.request.image]


async def test_a_bad_input_is_named_and_leaves_nothing_behind(stand: ServiceStand) -> None:
    error = await stand.refused(InvalidMedia, task=Task.IMAGE_TO_VIDEO, image=PICTURE, video=BROKEN)
    assert error.param == "video"
    assert [ref.key for ref in stand.media.discarded] == ["inputs/1"]


async def test_a_mask_is_stored_in_the_size_of_its_image(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, masked = BytesSource(b"mask"), list[tuple[FileSource, MediaRef, bool]]()
    ingest_mask = stand.media.ingest_mask

    async def recording(source: FileSource, image: MediaRef, *, owner: str, ignore_alpha: bool) -> MediaRef:
        masked.append((source, image, ignore_alpha))
        return await ingest_mask(source, image, owner=owner)

    monkeypatch.setattr(stand.media, "ingest_mask", recording)
    job = await stand.submit(Task.IMAGE_TO_VIDEO, mask=mask, image=PICTURE)
    other = await stand.submit(Task.IMAGE_TO_VIDEO, mask=mask, image=PICTURE, mask_ignores_alpha=True)
    assert masked == [(mask, job.request.image, False), (mask, other.request.image, True)]
    assert job.request.mask == MediaRef(MediaKind.IMAGE, "inputs/2", 1000, 500)


async def test_masks_that_are_refused(stand: ServiceStand) -> None:
    error = await stand.refused(InvalidMedia, task=Task.IMAGE_TO_VIDEO, image=PICTURE, mask=BROKEN)
    assert error.param == "mask"
    error = await stand.refused(InvalidRequest, task=Task.TEXT_TO_VIDEO, mask=PICTURE)
    assert error.param == "mask"
    assert "needs the image" in error.message


async def test_a_client_that_leaves_meanwhile_leaves_nothing_behind(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest, fetching = stand.media.ingest, asyncio.Event()

    async def slow(source: FileSource, kind: MediaKind, *, owner: str) -> MediaRef:
        if source == BROKEN:
            fetching.set()
            await asyncio.Event().wait()
        return await ingest(source, kind, owner=owner)

    monkeypatch.setattr(stand.media, "ingest", slow)
    submitting = asyncio.create_task(stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, last_image=BROKEN))
    await fetching.wait()
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert [ref.key for ref in stand.media.discarded] == ["inputs/1"]


@pytest.mark.parametrize(
    ("values", "error", "param"),
    [
        ({"model": "nothing"}, ModelNotFound, "model"),
        ({"prompt": " \n"}, InvalidRequest, "prompt"),
        ({"prompt": "x" * 100_001}, InvalidRequest, "prompt"),
        ({"negative_prompt": "x" * 100_001}, InvalidRequest, "negative_prompt"),
        ({"seed": -1}, InvalidRequest, "seed"),
        ({"seed": 2**63}, InvalidRequest, "seed"),
        ({"duration": 1000.0}, InvalidRequest, "duration"),
        ({"style": "noir"}, InvalidRequest, "style"),
        ({"storyboard": (StoryboardShot(" ", 1.0),)}, InvalidRequest, "prompt"),
        ({"storyboard": (StoryboardShot("a", float("nan")),)}, InvalidRequest, "prompt"),
        (
            {"task": Task.TEXT_TO_IMAGE, "storyboard": (StoryboardShot("a", 1.0),)},
            InvalidRequest,
            "prompt",
        ),
        ({"task": Task.IMAGE_TO_VIDEO}, InvalidRequest, "image"),
        ({"task": Task.IMAGE_TO_IMAGE}, InvalidRequest, "image"),
        ({"task": Task.VIDEO_TO_VIDEO}, InvalidRequest, "video"),
    ],
)
async def test_what_is_refused_before_anything_is_fetched(
    stand: ServiceStand, values: dict[str, Any], error: type[Exception], param: str
) -> None:
    refused = await stand.refused(error, **values)
    assert refused.param == param
    assert not stand.media.taken


async def test_a_prompt_may_be_optional_with_an_input(stand: ServiceStand) -> None:
    refused = await stand.refused(InvalidRequest, task=Task.IMAGE_TO_VIDEO, prompt=" ", image=PICTURE)
    assert refused.param == "prompt"
    refused = await stand.refused(InvalidRequest, prompt="", prompt_optional=True)
    assert refused.param == "prompt"
    job = await stand.submit(Task.IMAGE_TO_VIDEO, prompt=" ", image=PICTURE, prompt_optional=True)
    assert job.request.prompt == " "


async def test_what_only_the_inputs_show_leaves_none_behind(stand: ServiceStand) -> None:
    too_long: dict[str, Any] = {
        "task": Task.VIDEO_TO_VIDEO,
        "num_frames": 82,
        "video": PICTURE,
    }
    error = await stand.refused(InvalidRequest, **too_long)
    assert error.param == "num_frames"
    ending = {"image": PICTURE, "last_image": PICTURE}
    error = await stand.refused(InvalidRequest, task=Task.IMAGE_TO_VIDEO, **ending)
    assert (error.param, len(stand.media.taken)) == ("last_image", 3)


async def test_a_clients_own_job_id(stand: ServiceStand) -> None:
    job = await stand.submit(job_id="mine", prompt="first")
    error = await stand.refused(JobExists, job_id="mine", prompt="second", client=BOB)
    assert (job.id, error.param) == ("mine", "job_id")
    assert (await stand.services.jobs.get("mine")).request.prompt == "first"


async def test_a_full_queue_keeps_no_inputs(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, max_queued=2)
    await stand.submit()
    await stand.submit()
    error = await stand.refused(QueueFull, task=Task.IMAGE_TO_VIDEO, image=PICTURE)
    assert (error.limit, len(stand.media.taken)) == (2, 0), "it is said before an input is fetched"
    assert stand.store.claim_next("w1")
    await stand.submit()


async def test_a_queue_that_fills_up_while_inputs_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = ServiceStand(tmp_path, max_queued=1)
    ingest = stand.media.ingest

    async def slow(source: FileSource, kind: MediaKind, *, owner: str) -> MediaRef:
        await stand.submit(client=BOB)
        return await ingest(source, kind, owner=owner)

    monkeypatch.setattr(stand.media, "ingest", slow)
    with pytest.raises(QueueFull):
        await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE)
    assert (len(stand.media.taken), len(stand.media.discarded)) == (1, 1)


async def test_limits_and_priority_of_key_model_and_name(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, models={"preview": ModelConfig(max_running=3)})
    job = await stand.submit(client=Client("carol", max_running=2, priority=5))
    assert (job.running_limits, job.priority) == ({"key:carol": 2, "model:preview": 3}, 5)
    wan = await stand.submit(Task.IMAGE_TO_VIDEO, model="api-from-image", image=PICTURE)
    assert wan.running_limits == {"model:preview": 3, "name:api-from-image": 2}
    assert wan.priority == 0


async def test_pages_of_a_collection(stand: ServiceStand) -> None:
    made = [await stand.submit(collection="videos") for _ in range(3)]
    await stand.submit(collection="videos", client=BOB)
    page = await stand.services.jobs.page("videos", owner="alice", limit=2)
    assert ([job.id for job in page.jobs], page.has_more) == ([made[2].id, made[1].id], True)
    page = await stand.services.jobs.page("videos", owner="alice", limit=2, after=made[1].id)
    assert ([job.id for job in page.jobs], page.has_more) == ([made[0].id], False)
    with pytest.raises(NotFound) as caught:
        await stand.services.jobs.page("videos", owner="bob", after=made[1].id)
    assert caught.value.param == "after"


async def test_deleting_a_job_removes_its_files(stand: ServiceStand) -> None:
    done = await stand.made()
    with pytest.raises(JobNotFound):
        await stand.services.jobs.delete(done.id, "bob")
    with structlog.testing.capture_logs() as logs:
        await stand.services.jobs.delete(done.id, "alice")
    assert [(line["event"], line["job_id"]) for line in logs] == [("job_deleted", done.id)]
    with pytest.raises(JobNotFound):
        await stand.services.jobs.get(done.id)
    assert stand.artifacts.path(done.artifacts[0].key) is None
    with pytest.raises(JobNotFound):
        await stand.services.jobs.delete(done.id)
    running = await stand.submit()
    claimed = stand.store.claim_next("w1")
    assert claimed is not None
    await stand.services.jobs.delete(running.id, "alice")
    assert stand.store.succeed(running.id).state == JobState.CANCELLED
    assert (await stand.services.jobs.counts()).active == 0


async def test_a_keys_own_limit(stand: ServiceStand) -> None:
    limited = Client("carol", max_queued=1)
    await stand.submit(client=limited)
    await stand.refused(KeyLimitReached, client=limited, task=Task.IMAGE_TO_VIDEO, image=PICTURE)
    await stand.submit(client=BOB)


async def test_a_keys_limit_of_jobs_at_once(stand: ServiceStand) -> None:
    limited = Client("carol", max_active=2)
    await stand.submit(client=limited)
    stand.store.claim_next("w1")
    running = await stand.submit(client=limited)
    error = await stand.refused(KeyLimitReached, client=limited)
    assert error.retry_after > 0
    await stand.services.jobs.cancel(running.id)
    await stand.submit(client=limited)


async def test_a_model_that_needs_a_plan(stand: ServiceStand) -> None:
    model = "api-video-pro"
    for plan in ("", "other"):
        error = await stand.refused(PlanRequired, model=model, client=Client("carol", plan=plan))
        assert (error.plan, error.param) == ("gold", "model")
    await stand.submit(model=model, client=Client("carol", plan="gold"))
    await stand.submit(model=model, client=Client())  # no keys are configured: everything is everybody's


async def test_a_style_is_told_to_the_model_and_not_shown(stand: ServiceStand) -> None:
    [shot] = (await stand.submit(style="nostalgic")).shots
    assert shot.prompt.startswith("a boat\nvintage 8 mm")
    assert (shot.own_words, shot.style) == ("a boat", "nostalgic")
    [plain] = (await stand.submit()).shots
    assert (plain.prompt, plain.own_words, plain.style) == ("a boat", "a boat", None)


async def test_a_storyboard_becomes_shots(stand: ServiceStand) -> None:
    scenes = tuple(StoryboardShot(f"scene {index}", 5.0) for index in range(2))
    job = await stand.submit(storyboard=scenes, style="anime", model="api-video-10s")
    assert [shot.own_words for shot in job.shots] == ["scene 0"] * 2 + ["scene 1"] * 2
    assert sum(shot.frames_kept for shot in job.shots) == 300
    longer = (*scenes, StoryboardShot("one more", 0.1))  # than the name promises of a plain prompt
    job = await stand.submit(storyboard=longer, model="api-video-10s")
    assert sum(shot.frames_kept for shot in job.shots) == 303
    longest = (*scenes, StoryboardShot("one more", 110.1))  # than the model makes under any name
    await stand.refused(InvalidRequest, storyboard=longest, model="api-video-10s")


async def test_another_keys_job_is_not_found(stand: ServiceStand) -> None:
    job = await stand.submit(client=ALICE)
    service = stand.services.jobs
    for call in (service.get, service.wait, service.cancel):
        with pytest.raises(JobNotFound, match=f"There is no job '{job.id}'"):
            await call(job.id, "bob")
    with pytest.raises(JobNotFound):
        await anext(service.watch(job.id, "bob"))
    assert (await service.get(job.id)).state == JobState.QUEUED
    assert await service.get(job.id, "alice") == job, "its own key's"
    assert await service.get(job.id, None) == job, "the operator's"
    with pytest.raises(JobNotFound):
        await service.get("nothing")


async def test_lists_are_by_key_state_and_age(stand: ServiceStand) -> None:
    first, second = await stand.submit(), await stand.submit()
    other = await stand.submit(client=BOB)
    stand.store.claim_next("w1")

    async def ids(**values: Any) -> list[str]:
        return [job.id for job in await stand.services.jobs.list(**values)]

    assert await ids() == [other.id, second.id, first.id]
    assert await ids(limit=1) == [other.id]
    assert await ids(owner="alice") == [second.id, first.id]
    assert await ids(owner="alice", states=[JobState.RUNNING]) == [first.id]
    counts = await stand.services.jobs.counts()
    assert (counts, counts.active) == (QueueCounts(2, 1, 0, 0, 0), 3)


async def test_a_watcher_sees_a_job_to_its_end(stand: ServiceStand) -> None:
    job = await stand.submit()
    seen: list[tuple[JobState, float]] = []
    async with aclosing(stand.services.jobs.watch(job.id, "alice")) as states:
        async for state in states:
            seen.append((state.state, state.progress))
            match len(seen):
                case 1:
                    stand.store.claim_next("w1")
                case 2 | 3:
                    stand.store.advance(job.id, len(seen) / 4)
                case 4:
                    stand.store.succeed(job.id)
                case _:
                    assert state.state.finished
    assert seen == [
        (JobState.QUEUED, 0.0),
        (JobState.RUNNING, 0.0),
        (JobState.RUNNING, 0.5),
        (JobState.RUNNING, 0.75),
        (JobState.SUCCEEDED, 1.0),
    ]


async def test_a_watcher_of_a_finished_job_gets_it_once(stand: ServiceStand) -> None:
    job = await stand.submit()
    await stand.services.jobs.cancel(job.id)
    states = [state.state async for state in stand.services.jobs.watch(job.id)]
    assert states == [JobState.CANCELLED]


async def test_a_watcher_of_a_deleted_job_is_told(stand: ServiceStand) -> None:
    job = await stand.submit()
    states: AsyncGenerator[Job, None] = stand.services.jobs.watch(job.id)
    assert (await anext(states)).state == JobState.QUEUED
    await stand.services.jobs.delete(job.id)
    with pytest.raises(JobNotFound):
        await anext(states)


async def test_waiting_for_a_job(stand: ServiceStand) -> None:
    job = await stand.submit()
    waiting = [asyncio.create_task(stand.services.jobs.wait(job.id)) for _ in range(3)]
    await asyncio.sleep(0.01)
    stand.store.claim_next("w1")
    await asyncio.sleep(0.01)
    stand.store.fail(job.id, JobError("out_of_memory", "It needs 12 GB."))
    for done in await asyncio.gather(*waiting):
        assert done.error == JobError("out_of_memory", "It needs 12 GB.")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stand.services.jobs.wait((await stand.submit()).id)


async def test_cancelling(stand: ServiceStand) -> None:
    queued, running = await stand.submit(), await stand.submit()
    assert (await stand.services.jobs.cancel(queued.id, "alice")).state == JobState.CANCELLED
    stand.store.claim_next("w1")
    asked = await stand.services.jobs.cancel(running.id)
    assert (asked.state, asked.cancel_requested) == (JobState.RUNNING, True)
    done = stand.store.succeed(running.id)
    assert done.state == JobState.CANCELLED, "an acknowledged cancel wins"
    assert await stand.services.jobs.cancel(running.id) == done
    with pytest.raises(JobNotFound):
        await stand.services.jobs.cancel("nothing")


async def test_a_result_by_the_name_that_its_client_gave(stand: ServiceStand) -> None:
    for prompt in ("first", "second"):
        await stand.services.jobs.submit(
            Submission(
                dialect="test",
                request=GenerationRequest("preview", Task.TEXT_TO_VIDEO, prompt),
                client=ALICE,
                labels={"result_name": "boat.mp4"},
            )
        )
    newest = await stand.services.jobs.find_by_lookup_label("alice", "boat.mp4")
    assert newest is not None
    assert newest.request.prompt == "second"
    assert await stand.services.jobs.find_by_lookup_label("bob", "boat.mp4") is None


async def test_workers(stand: ServiceStand) -> None:
    worker = WorkerInfo("w2", "here", 2, "cpu", "0", ("preview",), 0.0)
    stand.store.living[:] = [worker]
    assert list(await stand.services.jobs.workers()) == [worker]


async def test_inputs_are_decoded_in_the_share_of_their_key_or_address(stand: ServiceStand) -> None:
    await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, mask=PICTURE)
    await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, client=Client(address="203.0.113.7"))
    await stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE, client=Client())
    assert stand.media.owners == [ALICE.name, ALICE.name, "203.0.113.7", ""]


async def test_a_job_that_is_being_written_is_written_whatever_its_client_does(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, writing, released = stand.store.submit, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any, **values: Any) -> Job:
        writing.set()
        await released.wait()
        return await submit(*arguments, **values)

    monkeypatch.setattr(stand.store, "submit", slow)
    submitting = asyncio.create_task(stand.submit(Task.IMAGE_TO_VIDEO, image=PICTURE))
    await writing.wait()
    for _ in range(3):
        submitting.cancel()
        await asyncio.sleep(0)
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    [job] = stand.store.jobs
    assert job.inputs
    assert stand.media.discarded == []


# Retries.


async def test_a_job_that_has_ended_is_submitted_again(stand: ServiceStand) -> None:
    source = BytesSource(b"a picture")
    first = await stand.submit(Task.IMAGE_TO_VIDEO, image=source, collection="videos", strength=None)
    for state in (JobState.QUEUED, JobState.RUNNING):
        with pytest.raises(JobUnfinished, match=state):
            await stand.services.jobs.retry(first.id, "alice", client=ALICE)
        stand.store.claim_next("w1")
    stand.store.fail(first.id, JobError("generation_failed", "no"))
    assert first.request.image is not None
    stored = stand.folder / first.request.image.key
    stored.parent.mkdir(exist_ok=True)
    stored.write_bytes(source.data)
    with pytest.raises(JobNotFound):
        await stand.services.jobs.retry(first.id, "bob", client=BOB)
    once = IdempotencyKey(key="k", fingerprint="f")
    again = await stand.services.jobs.retry(first.id, "alice", client=ALICE, idempotency=once)
    assert await stand.services.jobs.retry(first.id, "alice", client=ALICE, idempotency=once) == again
    assert again.id != first.id
    assert (again.owner, again.dialect, again.collection) == ("alice", "test", "videos")
    assert (again.state, again.attempt, again.error, again.artifacts) == (JobState.QUEUED, 0, None, ())
    assert again.seed != first.seed
    assert again.share_id != first.share_id
    copy = again.request.image
    assert copy is not None
    assert copy.key != first.request.image.key
    assert replace(copy, key=first.request.image.key) == first.request.image
    assert (stand.folder / copy.key).read_bytes() == source.data
    assert replace(again.request, image=first.request.image) == first.request
    stored.unlink()
    with pytest.raises(ArtifactGone, match=first.id) as caught:
        await stand.services.jobs.retry(first.id, "alice", client=ALICE)
    assert caught.value.param is None
    assert len(await stand.services.jobs.list()) == 2


async def test_a_retry_keeps_the_seed_that_was_named_and_the_operators_keeps_the_owner(
    stand: ServiceStand,
) -> None:
    gold = Client("gold", plan="gold", max_running=2, timeout=90.0)
    job = await stand.submit(model="api-video-pro", seed=7, client=gold)
    await stand.services.jobs.cancel(job.id)
    again = await stand.services.jobs.retry(job.id)
    assert (again.owner, again.seed, again.running_limits) == ("gold", 7, job.running_limits)
    assert (again.timeout, again.timeout_setting) == (90.0, job.timeout_setting)
    assert again.shots == job.shots
    full = Client("gold", plan="gold", max_queued=1)
    with pytest.raises(KeyLimitReached):
        await stand.services.jobs.retry(job.id, "gold", client=full)
