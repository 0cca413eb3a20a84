"""Which node of a workflow gives its result."""

from typing import Any

import pytest

from framegate.plugins.comfyui.workflows.errors import WorkflowError
from tests.support.comfyui.graphs import node, parsed


@pytest.mark.parametrize(
    ("made", "output"),
    [
        ([node("SaveImage", "$output.cover"), node("PreviewImage", "Look")], ("1", "image")),
        ([node("SaveImage", "$output.image2"), node("PreviewImage")], ("1", "image")),
        ([node("SaveImage"), node("VHS_VideoCombine")], ("2", "video")),
        ([node("PreviewImage"), node("SaveImage")], ("2", "image")),
        ([node("SaveAudio"), node("SaveVideo")], ("2", "video")),
        ([node("MyOwnSaver", "Result, $output.video"), node("SaveImage")], ("1", "video")),
    ],
)
def test_where_the_result_is(made: list[dict[str, Any]], output: tuple[str, str]) -> None:
    workflow = parsed({str(index): each for index, each in enumerate(made, 1)})
    assert (workflow.output, workflow.kind) == output


@pytest.mark.parametrize(
    ("made", "message"),
    [([node("KSampler")], "no node is marked as its result"), ([node("SaveAudio")], "nothing but audio")],
)
def test_a_graph_without_a_result(made: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        parsed({str(index): each for index, each in enumerate(made, 1)})
