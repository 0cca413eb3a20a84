"""What ``jobs show`` and ``jobs list`` say of a job."""

import pytest
from msgspec.structs import replace

from framegate.cli.job_report import describe_changes, print_job, print_jobs
from framegate.cli.servers.local import view_of
from framegate.core.fitting import Change
from framegate.core.jobs import Job, JobError
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, Shot, StoryboardShot, Task
from tests.support.sample_jobs import make_job

REQUEST = GenerationRequest(
    model="quick",
    task=Task.IMAGE_TO_VIDEO,
    prompt="a boat\nin the fog",
    negative_prompt="people",
    style="anime",
    strength=0.6,
    num_fragments=2,
    num_partial_images=2,
    storyboard=(StoryboardShot("it leaves", 2.0), StoryboardShot("it is gone", 3.0)),
    image=MediaRef(MediaKind.IMAGE, "inputs/a", 640, 360, size=12_345),
    video=MediaRef(MediaKind.VIDEO, "inputs/b", 320, 180, num_frames=48, fps=24.0),
)
SHOT = Shot(
    task=Task.IMAGE_TO_VIDEO,
    prompt="a boat, anime",
    width=832,
    height=480,
    num_frames=81,
    fps=16.0,
    seed=7,
    num_inference_steps=30,
    guidance_scale=5.5,
    negative_prompt="people",
    strength=0.6,
    style="anime",
)


def whole_job() -> Job:
    return replace(
        make_job("j1", owner="alice", priority=3, task_id="mine"),
        model="quick",
        served_by="wan22",
        dialect="lightx2v",
        request=REQUEST,
        shots=(SHOT, replace(SHOT, drop_first=1)),
        changes=(
            Change("height", 481, 480, "the model takes multiples of 16"),
            Change("num_inference_steps", 500, 30, "the model takes 1 to 30"),
        ),
        webhooks=("https://user:secret@hooks.example:8443/in?token=hidden",),
        error=JobError("out_of_memory", "It doesn't fit."),
    )


def shown(job: Job, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The lines of `jobs show` by their field."""
    print_job(view_of(job), as_json=False)
    fields: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines()[1:]:
        name, _, value = line.strip().partition("  ")
        fields.setdefault(name, []).append(value.strip())
    return fields


def test_every_value_that_was_used(capsys: pytest.CaptureFixture[str]) -> None:
    fields = shown(whole_job(), capsys)
    expected = {
        "model": "quick (served by wan22)",
        "task": "image-to-video",
        "dialect": "lightx2v",
        "owner": "alice",
        "prompt": "a boat in the fog",
        "negative prompt": "people",
        "size": "832×480",
        "frames": "161",
        "duration": "10.0625",
        "fps": "16",
        "steps": "30",
        "guidance scale": "5.5",
        "strength": "0.6",
        "style": "anime",
        "seed": "7",
        "fragments": "2",
        "storyboard": "2 s: it leaves; 3 s: it is gone",
        "partial images": "2",
        "image": "640×360, 12,345 bytes",
        "video": "320×180, 48 frames at 24 fps",
        "priority": "3",
        "webhooks": "hooks.example",
        "label task_id": "mine",
        "error": "out_of_memory: It doesn't fit.",
    }
    assert {name: fields[name] for name in expected} == {name: [value] for name, value in expected.items()}
    assert fields["changed"] == [
        "832×481 → 832×480: the model takes multiples of 16",
        "num_inference_steps 500 → 30: the model takes 1 to 30",
    ]
    assert "secret" not in str(fields)
    assert "hidden" not in str(fields)


def test_nothing_is_said_of_what_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    fields = shown(make_job("j1"), capsys)
    absent = {
        "owner",
        "negative prompt",
        "strength",
        "style",
        "image",
        "changed",
        "webhooks",
        "started",
        "error",
    }
    assert not absent & fields.keys()


def test_the_list_shows_owners(capsys: pytest.CaptureFixture[str]) -> None:
    print_jobs([view_of(whole_job()), view_of(make_job("j2"))], as_json=False)
    header, first, second = capsys.readouterr().out.splitlines()
    assert "OWNER" in header
    assert " alice " in first
    assert " - " in second


def test_a_size_that_is_changed_in_both_sides() -> None:
    sides = (Change("width", 833, 832, "because"), Change("height", 481, 480, "because"))
    job = view_of(replace(whole_job(), changes=sides))
    assert list(describe_changes(job)) == ["833×481 → 832×480: because"]
