"""What a real ComfyUI 0.24 sent, recorded."""

import json
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parents[3] / "plugins" / "comfyui" / "tests" / "recorded"


def read_recording(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text())
