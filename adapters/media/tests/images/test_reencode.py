"""Result images in other formats."""

import io
from pathlib import Path

from PIL import Image

from framegate.media.images.reencode import reencode


def test_formats(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    assert reencode(path, "png") == path.read_bytes()
    for kind in ("jpeg", "webp"):
        best, worst = (reencode(path, kind, quality) for quality in (100, 0))
        assert len(worst) < len(best)
        with Image.open(io.BytesIO(best)) as picture:
            assert (picture.format, picture.size) == (kind.upper(), (64, 64))
    Image.open(path).save(tmp_path / "picture.jpg")
    assert reencode(tmp_path / "picture.jpg", "png").startswith(b"\x89PNG")
