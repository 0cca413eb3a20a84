"""openai-videos: poll intervals, idempotency keys, and rules for fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest
from framegate.core.jobs import Job, JobState
from framegate.core.types import GenerationRequest, Task
from framegate.server.dialects.openai.images.requests import rules as image_rules
from framegate.server.dialects.openai.videos.answers import LATEST_MS, SOONEST_MS, UNKNOWN_MS, poll_after_ms
from framegate.server.dialects.openai.videos.idempotency import idempotency_key
from framegate.server.dialects.openai.videos.requests import rules as video_rules
from framegate.server.dialects.openai.videos.schemas import CreateFields, RemixFields
from framegate.server.requests.idempotency import fingerprint

JOB = Job(
    id="j",
    model="sora-2",
    served_by="preview",
    queue="q",
    dialect="openai-videos",
    request=GenerationRequest("sora-2", Task.TEXT_TO_VIDEO, "a boat"),
    shots=(),
    created_at=0.0,
)
NUMBERS = st.floats(0, 1e6)


def running(progress: float) -> Job:
    return replace(JOB, state=JobState.RUNNING, started_at=100.0, progress=progress)


@pytest.mark.parametrize(
    ("job", "position", "milliseconds"),
    [
        (JOB, 1, 500),
        (JOB, 4, 2000),
        (JOB, 400, LATEST_MS),
        (JOB, None, 500),
        (running(0.0), None, UNKNOWN_MS),
        (running(0.5), None, 1000),  # ten seconds are left
        (running(0.99), None, SOONEST_MS),
        (running(0.001), None, LATEST_MS),
        (replace(JOB, state=JobState.SUCCEEDED), None, None),
        (replace(JOB, state=JobState.CANCELLED), None, None),
    ],
)
def test_when_to_ask_again(job: Job, position: int | None, milliseconds: int | None) -> None:
    assert poll_after_ms(job, position=position, now=110.0) == milliseconds


@given(st.sampled_from(JobState), st.none() | st.integers(1, 10**6), st.floats(0, 1), NUMBERS, NUMBERS)
def test_sensible_at_any_time(
    state: JobState, position: int | None, progress: float, started: float, now: float
) -> None:
    job = replace(JOB, state=state, progress=progress, started_at=started)
    after = poll_after_ms(job, position=position, now=now)
    assert (after is None) == state.finished
    assert after is None or SOONEST_MS <= after <= LATEST_MS


def test_fingerprints() -> None:
    fields, file = CreateFields(prompt="a boat", seconds="4"), {"input_reference": b"picture"}
    asked = fingerprint("create", fields, file)
    assert fingerprint("create", CreateFields(prompt="a boat", seconds="4"), dict(file)) == asked
    others = [
        fingerprint("edit", fields, file),
        fingerprint("create", CreateFields(prompt="a boat", seconds="8"), file),
        fingerprint("create", fields, {}),
        fingerprint("create", fields, {"input_reference": b"another"}),
        fingerprint("remix video_1", RemixFields(prompt="a boat"), {}),
        fingerprint("remix video_2", RemixFields(prompt="a boat"), {}),
    ]
    assert len({asked, *others}) == 7


def test_who_says_what_of_repeats() -> None:
    assert idempotency_key({}, "f", since=1.0) is None
    for nonsense in ("many", "٤"):
        assert idempotency_key({"x-stainless-retry-count": nonsense}, "f", since=1.0) is None
    first = idempotency_key({"x-stainless-retry-count": "0"}, "f", since=1.5)
    again = idempotency_key({"x-stainless-retry-count": "2"}, "f", since=0.0)
    assert first is not None
    assert again is not None
    assert (first.repeat, first.since, first.seconds) == (False, 1.5, 60)
    assert (again.repeat, again.key, again.fingerprint) == (True, first.key, first.fingerprint)
    named = idempotency_key({"idempotency-key": "k", "x-stainless-retry-count": "0"}, "f", since=0.0)
    assert named is not None
    assert (named.repeat, named.seconds, named.fingerprint) == (True, 86_400, "f")
    # A client can't name what it never sent.
    assert named.key != "k"
    assert idempotency_key({"idempotency-key": f"sent:{first.key}"}, "f", since=0.0) != first
    for key in ("", "a b", "é", "x" * 256):
        with pytest.raises(InvalidRequest):
            idempotency_key({"idempotency-key": key}, "f", since=0.0)


def test_digits_are_ascii() -> None:
    assert not list(video_rules({"seconds": "4", "size": "1280x720"}))
    wrong = video_rules({"seconds": "٤", "size": "١٢٨x720"})
    assert [error.field for error in wrong] == ["seconds", "size"]
    assert [error.field for error in image_rules({"size": "1024x10٢٤"})] == ["size"]
