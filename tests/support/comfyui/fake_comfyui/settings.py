"""How the server was started."""

from pathlib import Path

from msgspec import Struct

MAX_UPLOAD = 100 * 1024 * 1024
FEATURES = {
    "supports_preview_metadata": True,
    "max_upload_size": MAX_UPLOAD,
    "extension": {"manager": {"supports_v4": True}},
    "node_replacements": True,
    "assets": False,
}


class Settings(Struct, frozen=True):
    """How the server was started.

    ``newer``: with what ComfyUI has learnt since 0.24. ``older``: without what it has learnt about previews
    since 0.3.40. ``hold``: the node class before which prompts are held from the start.
    """

    base: Path
    token: str = ""
    newer: bool = False
    older: bool = False
    preview_method: str = ""
    hold: str = ""

    @property
    def version(self) -> str:
        if self.older:
            return "0.3.40"
        return "0.38.0" if self.newer else "0.24.0"

    @property
    def argv(self) -> list[str]:
        method = ["--preview-method", self.preview_method] if self.preview_method else []
        return ["main.py", "--cpu", *method]
