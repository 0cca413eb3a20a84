"""Media in requests."""

from framegate.core.ports import BytesSource, MediaSource, UrlSource
from framegate.core.types import GenerationRequest, StoryboardShot, Task

REQUEST: GenerationRequest[MediaSource] = GenerationRequest(
    model="wan",
    task=Task.IMAGE_TO_VIDEO,
    prompt="a boat",
    seed=3,
    storyboard=(StoryboardShot("a wave", 2.0),),
    last_image=UrlSource("https://example.com/end.png"),
    image=BytesSource(b"image"),
)


def test_media_are_listed_by_field() -> None:
    assert list(REQUEST.media.items()) == [
        ("image", BytesSource(b"image")),
        ("last_image", UrlSource("https://example.com/end.png")),
    ]


def test_without_media_everything_else_stays() -> None:
    assert REQUEST.without_media() == GenerationRequest(
        model="wan",
        task=Task.IMAGE_TO_VIDEO,
        prompt="a boat",
        seed=3,
        storyboard=(StoryboardShot("a wave", 2.0),),
    )
