"""Progress from recorded and from odd events."""

import json
from typing import Any

import pytest

from framegate.plugins.comfyui.execution.progress import GraphProgress
from framegate.plugins.comfyui.workflows.graph import read_graph
from tests.support.comfyui.graphs import node, noisy_video, parsed, with_inputs
from tests.support.comfyui.recordings import read_recording
from tests.support.comfyui.workflows import SAMPLED_IMAGE


def fractions(events: list[Any]) -> list[float]:
    progress = GraphProgress(parsed(noisy_video("a.png")).graph)
    seen: list[float] = []
    for each in events:
        progress.handle_event(each["type"], each["data"])
        seen.append(progress.fraction)
    return seen


@pytest.mark.parametrize("name", ["ws_success", "ws_success_fully_cached"])
def test_progress_goes_up_to_the_end(name: str) -> None:
    seen = fractions(read_recording(name))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_progress_of_a_graph_that_was_interrupted() -> None:
    assert 0 < fractions(read_recording("ws_interrupted"))[-1] < 1


def test_a_sampler_weighs_as_much_as_its_steps() -> None:
    graph = {
        "1": node("EmptyLatentImage", width=64, height=64),
        "2": node("KSampler", steps=18, latent=["1", 0]),
        "3": node("SaveImage", images=["2", 0]),
    }
    progress = GraphProgress(parsed(graph).graph)
    progress.handle_event("execution_cached", {"nodes": ["1"]})
    progress.handle_event("progress", {"node": "2", "value": 9, "max": 18})
    assert progress.fraction == pytest.approx(10 / 20)
    progress.handle_event("progress_state", {"nodes": {"2": {"value": 3, "max": 18, "state": "running"}}})
    assert progress.fraction == pytest.approx(10 / 20), "it never goes back"


@pytest.mark.parametrize(
    "data", [{}, {"nodes": 3}, {"node": None}, {"node": "2", "value": "x", "max": 0}, {"nodes": {"2": 1}}]
)
@pytest.mark.parametrize("kind", ["progress", "progress_state", "execution_cached", "executing", "unknown"])
def test_malformed_events_change_nothing(kind: str, data: Any) -> None:
    progress = GraphProgress(parsed(noisy_video("a.png")).graph)
    progress.handle_event(kind, data)
    assert progress.fraction == 0.0


def test_two_samplers_count_as_one() -> None:
    """The second continues from the first, as in a graph that upscales its image."""
    second = with_inputs(SAMPLED_IMAGE, "3", latent_image=["3", 0], steps=60)["3"]
    graph = {**with_inputs(SAMPLED_IMAGE, "8", samples=["10", 0]), "10": second}
    progress = GraphProgress(read_graph(json.dumps(graph).encode()))
    sampled: list[float] = []
    for finished in ("4", "5", "6", "7"):
        progress.handle_event("progress_state", {"nodes": {finished: {"state": "finished"}}})
        sampled.append(progress.sampled)
    for sampler, value, maximum in (("3", 10, 20), ("3", 20, 20), ("10", 30, 60), ("10", 60, 60)):
        progress.handle_event("progress", {"node": sampler, "value": value, "max": maximum})
        sampled.append(progress.sampled)
    assert sampled == [0, 0, 0, 0, 0.125, 0.25, 0.625, 1]
