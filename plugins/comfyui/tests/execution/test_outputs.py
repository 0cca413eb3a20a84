"""Which of a graph's files are its result."""

from typing import Any

import pytest

from framegate.plugins.comfyui.execution.outputs import select_files


@pytest.mark.parametrize(
    ("output", "kind", "names"),
    [
        (
            {"images": [{"filename": "a.mp4", "subfolder": "", "type": "output"}], "animated": [True]},
            "video",
            ["a.mp4"],
        ),
        (
            {"gifs": [{"filename": "a", "subfolder": "x", "type": "output", "format": "video/h264-mp4"}]},
            "video",
            ["a"],
        ),
        (
            {"images": [{"filename": "p.png", "type": "temp"}, {"filename": "a.png", "type": "output"}]},
            "image",
            ["a.png"],
        ),
        ({"images": [{"filename": "p.png", "type": "temp"}]}, "image", ["p.png"]),
        ({"images": [{"filename": "a.png"}], "video": {"filename": "a.webm"}}, "video", ["a.webm"]),
        ({"images": [{"filename": "a.webp"}], "animated": [True]}, "video", ["a.webp"]),
        ({"images": [{"filename": "a.png"}]}, "video", []),
        ({"text": ["a.mp4"]}, "video", []),
        (None, "video", []),
        ({"images": [None, 7, {"filename": ""}]}, "image", []),
    ],
)
def test_which_files_are_the_result(output: Any, kind: Any, names: list[str]) -> None:
    assert [file.filename for file in select_files(output, kind)] == names
