"""What is sent to ``POST /prompt``."""

import json

from hypothesis import given
from hypothesis import strategies as st

from framegate.plugins.comfyui.execution.prompt_builder import fill_graph
from tests.support.comfyui.graphs import noisy_video, parsed


@given(st.text())
def test_a_value_reaches_its_node_unchanged_and_nothing_else_does(text: str) -> None:
    graph = noisy_video("a.png")
    prompt = fill_graph(parsed(graph).graph, {("7", "value"): text})
    assert json.loads(json.dumps(prompt)) == {**graph, "7": {**graph["7"], "inputs": {"value": text}}}
