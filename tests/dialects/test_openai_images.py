"""OpenAI's images API against the real server, by the official SDK."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import requests
from numpy.typing import NDArray
from openai import AsyncOpenAI, OpenAI
from openai.types import ImagesResponse
from PIL import Image

from tests.support.decoding import opened
from tests.support.listing import files_below
from tests.support.running import RunningServer, eventually

SIZE: Any = "128x96"


def pictures_of(answer: ImagesResponse) -> list[bytes]:
    found: list[bytes] = []
    for item in answer.data or []:
        assert item.b64_json is not None
        found.append(base64.b64decode(item.b64_json))
    return found


def pixels(data: bytes) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.float64)


def as_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def half_mask(size: tuple[int, int] = (600, 400)) -> bytes:
    """The left half of it is to be edited."""
    mask = Image.new("RGBA", size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    return as_png(mask)


@pytest.mark.smoke
def test_generate(client: OpenAI) -> None:
    answer = client.images.generate(prompt="a boat", size=SIZE, n=3, extra_body={"seed": 7})
    assert (answer.size, answer.output_format, answer.background) == (SIZE, "png", "opaque")
    assert answer.usage is not None
    first, second, third = pictures_of(answer)
    assert {opened(data) for data in (first, second, third)} == {("PNG", (128, 96))}
    assert len({first, second, third}) == 3
    again = client.images.generate(prompt="a boat", size=SIZE, n=3, extra_body={"seed": 7})
    assert pictures_of(again) == [first, second, third]
    # Each further one has the next seed.
    assert pictures_of(client.images.generate(prompt="a boat", size=SIZE, extra_body={"seed": 8})) == [second]
    drawn = client.images.generate(prompt="a boat", size=SIZE)
    assert pictures_of(drawn) != [first]
    seed = (drawn.model_extra or {})["seed"]
    same = client.images.generate(prompt="a boat", size=SIZE, extra_body={"seed": seed})
    assert pictures_of(same) == pictures_of(drawn)


def test_default_size(client: OpenAI) -> None:
    answer = client.images.generate(prompt="a boat", model="gpt-image-1", size="auto")
    assert [opened(data)[1] for data in pictures_of(answer)] == [(1024, 1024)]
    assert answer.size == "1024x1024"
    # A size that the model does not make is fitted to it.
    assert client.images.generate(prompt="a boat", size="129x97").size == SIZE


@pytest.mark.parametrize(("kind", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_formats_and_links(client: OpenAI, server: RunningServer, kind: Any, name: str) -> None:
    extra = {"seed": 3}
    whole = client.images.generate(prompt="a boat", size=SIZE, output_format=kind, extra_body=extra)
    assert whole.output_format == kind
    [data] = pictures_of(whole)
    assert opened(data) == (name, (128, 96))
    linked = client.images.generate(
        prompt="a boat", size=SIZE, n=2, output_format=kind, response_format="url", extra_body=extra
    )
    links = [item.url or "" for item in linked.data or []]
    assert all(link.startswith(f"{server.url}/v1/images/files/") for link in links)
    first, second = (requests.get(link, timeout=60) for link in links)
    assert (first.content, first.headers["Content-Type"]) == (data, f"image/{kind}")
    assert second.content != data
    assert int(requests.head(links[0], timeout=60).headers["Content-Length"]) == len(data)
    other = "webp" if kind == "png" else "png"
    assert requests.get(links[0].replace(f".{kind}", f".{other}"), timeout=60).status_code == 404
    assert requests.get(links[1].replace(f"_2.{kind}", f"_3.{kind}"), timeout=60).status_code == 404


def test_compression(client: OpenAI) -> None:
    sizes = [
        len(pictures_of(answer)[0])
        for compression in (100, 30)
        for answer in [
            client.images.generate(
                prompt="a boat",
                size=SIZE,
                output_format="jpeg",
                output_compression=compression,
                extra_body={"seed": 3},
            )
        ]
    ]
    assert sizes[1] < sizes[0] / 2


def test_stream(client: OpenAI) -> None:
    extra = {"seed": 7}
    with client.images.generate(
        prompt="a boat", size=SIZE, stream=True, partial_images=2, extra_body=extra
    ) as stream:
        *partial, last = list(stream)
    assert [event.type for event in partial] == ["image_generation.partial_image"] * 2
    for index, event in enumerate(partial):
        assert event.type == "image_generation.partial_image"
        assert event.partial_image_index == index
        assert opened(base64.b64decode(event.b64_json)) == ("PNG", (128, 96))
    assert last.type == "image_generation.completed"
    assert (last.size, last.quality, last.output_format) == (SIZE, "auto", "png")
    assert last.usage.total_tokens == 0
    [whole] = pictures_of(client.images.generate(prompt="a boat", size=SIZE, extra_body=extra))
    assert base64.b64decode(last.b64_json) == whole
    # What is shown on the way gets nearer to it.
    far, near = (
        float(np.abs(pixels(base64.b64decode(event.b64_json)) - pixels(whole)).mean()) for event in partial
    )
    assert far > near > 0


def test_a_stream_without_partial_images(client: OpenAI) -> None:
    with client.images.generate(prompt="a boat", size=SIZE, n=2, stream=True, quality="high") as stream:
        events = list(stream)
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert [event.quality for event in events] == ["high", "high"]


def test_edit(client: OpenAI, photo: Path) -> None:
    answer = client.images.edit(prompt="in oil", image=photo, size="120x80", n=2, extra_body={"seed": 1})
    first, second = pictures_of(answer)
    assert opened(first) == opened(second) == ("PNG", (120, 80))
    assert first != second
    # Without a size the picture's ratio holds.
    width, height = opened(pictures_of(client.images.edit(prompt="in oil", image=photo))[0])[1]
    assert width / height == pytest.approx(1.5, rel=0.02)
    weak, strong = (
        pictures_of(
            client.images.edit(
                prompt="in oil", image=photo, size="120x80", extra_body={"seed": 1, "strength": strength}
            )
        )[0]
        for strength in (0.0, 1.0)
    )
    with Image.open(photo) as picture:
        small = np.asarray(picture.convert("RGB").resize((120, 80), Image.Resampling.LANCZOS)).astype(float)
    assert np.abs(pixels(weak) - small).mean() < np.abs(pixels(strong) - small).mean()


def test_edit_of_several_pictures(client: OpenAI, photo: Path) -> None:
    square = as_png(Image.new("RGB", (400, 400), "red"))
    answer = client.images.edit(
        prompt="in oil", image=[photo, ("red.png", square)], extra_body={"strength": 0.0, "seed": 1}
    )
    [data] = pictures_of(answer)
    width, height = opened(data)[1]
    # 600×400 beside 400×400.
    assert width / height == pytest.approx(2.5, rel=0.02)
    right = pixels(data)[height // 4 : height // 2, int(width * 0.7) : int(width * 0.9)]
    assert right[..., 0].mean() > 200
    assert right[..., 1:].mean() < 60


def test_edit_of_a_part(client: OpenAI, photo: Path) -> None:
    def edited(image: Any, **extra: Any) -> NDArray[np.float64]:
        answer = client.images.edit(
            prompt="in oil", image=image, mask=("m.png", half_mask()), extra_body={"strength": 1.0, **extra}
        )
        return pixels(pictures_of(answer)[0])

    with Image.open(photo) as picture:
        original = np.asarray(picture.convert("RGB")).astype(np.float64)
    made = edited(photo, size="600x400")
    assert np.array_equal(made[:, 300:], original[:, 300:])
    assert np.abs(made[:, :300] - original[:, :300]).mean() > 5

    wide = edited([photo, photo], size="1200x400")
    # The mask is the first one's; the second stays.
    assert np.abs(wide[:, 310:600] - original[:, 310:]).mean() < 2
    assert np.abs(wide[:, 600:] - original).mean() < 2
    assert np.abs(wide[:, :300] - original[:, :300]).mean() > 5


def white_half(mode: str, size: tuple[int, int], kind: str = "PNG") -> bytes:
    """The left half of it is white, the rest black."""
    mask = Image.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    buffer = io.BytesIO()
    mask.convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "mask",
    [
        white_half("L", (600, 400)),
        white_half("RGB", (300, 200)),
        white_half("RGBA", (1200, 800)),
        white_half("1", (8, 8)),
        white_half("L", (608, 400), "JPEG"),
        half_mask((400, 600)),
    ],
    ids=["grey", "rgb", "rgba", "one bit", "jpeg", "transparent"],
)
def test_masks_of_other_kinds_and_sizes(client: OpenAI, photo: Path, mask: bytes) -> None:
    answer = client.images.edit(
        prompt="in oil", image=photo, mask=("m", mask), size="600x400", extra_body={"strength": 1.0}
    )
    made = pixels(pictures_of(answer)[0])
    with Image.open(photo) as picture:
        original = np.asarray(picture.convert("RGB")).astype(np.float64)
    assert np.array_equal(made[:, 301:], original[:, 301:])
    assert np.abs(made[:, :300] - original[:, :300]).mean() > 5


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (as_png(Image.new("RGB", (600, 400), "black")), "nothing to edit.*transparent, or white"),
        (as_png(Image.new("RGBA", (600, 400), (0, 0, 0, 255))), "nothing to edit.*transparent, or white"),
        (b"not a picture", "not an image"),
    ],
)
def test_masks_that_are_none(client: OpenAI, photo: Path, mask: bytes, word: str, several: bool) -> None:
    with pytest.raises(openai.BadRequestError, match=word) as refused:
        client.images.edit(prompt="in oil", image=[photo, photo] if several else photo, mask=("m.png", mask))
    assert refused.value.param == "mask"


def test_edit_stream(client: OpenAI, photo: Path) -> None:
    with client.images.edit(
        prompt="in oil", image=photo, size=SIZE, stream=True, partial_images=1, output_format="webp"
    ) as stream:
        partial, last = list(stream)
    assert (partial.type, last.type) == ("image_edit.partial_image", "image_edit.completed")
    assert opened(base64.b64decode(last.b64_json)) == ("WEBP", (128, 96))


def test_variations(client: OpenAI, photo: Path) -> None:
    with pytest.warns(DeprecationWarning, match="deprecated"):
        answer = client.images.create_variation(image=photo, n=2, size="256x256", response_format="b64_json")  # pyright: ignore[reportDeprecated] # the SDK still has it
    first, second = pictures_of(answer)
    assert opened(first) == opened(second) == ("PNG", (256, 256))
    assert first != second


async def test_the_asynchronous_client(server: RunningServer, photo: Path) -> None:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        await client.images.generate(prompt="a boat", size=SIZE)
        await client.images.edit(prompt="a boat", image=photo, size=SIZE)
        stream = await client.images.generate(prompt="a boat", size=SIZE, stream=True, partial_images=3)
        types = [event.type async for event in stream]
    assert types == [*["image_generation.partial_image"] * 3, "image_generation.completed"]


def test_extras(client: OpenAI, server: RunningServer) -> None:
    extra: dict[str, Any] = {"seed": 11, "negative_prompt": "blurry", "steps": 9, "guidance_scale": 2.5}
    client.images.generate(prompt="a boat with extras", size=SIZE, user="u", extra_body=extra)
    [job] = [job for job in server.json("jobs", "list") if job["request"]["prompt"] == "a boat with extras"]
    [shot] = job["shots"]
    assert (shot["seed"], shot["num_inference_steps"], shot["guidance_scale"]) == (11, 9, 2.5)
    assert shot["negative_prompt"] == "blurry"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"size": "big"}, "size"),
        ({"size": "0x128"}, "size"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"model": "sora-2"}, "model"),
        ({"background": "transparent"}, "background"),
        ({"output_format": "svg"}, "output_format"),
        ({"output_compression": 50}, "output_compression"),
        ({"partial_images": 4, "stream": True}, "partial_images"),
        ({"extra_body": {"guidance": 1}}, "guidance"),
        ({"extra_body": {"seed": -1}}, "seed"),
        ({"extra_body": {"seed": "7"}}, "seed"),
        ({"extra_body": {"steps": 3, "num_inference_steps": 4}}, "steps"),
        ({"frame_count": 4}, "frame_count"),
    ],
)
def test_each_limit(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    call: Any = client.images.generate
    with pytest.raises(openai.BadRequestError) as refused:
        call(**{"prompt": "a boat", **fields})
    assert refused.value.param == param
    assert param in refused.value.message


def test_each_limit_of_forms(client: OpenAI, photo: Path, server: RunningServer) -> None:
    call: Any = client.images.edit
    for fields, param in (
        ({"n": 11}, "n"),
        ({"image": ("a.png", b"not a picture")}, "image"),
        ({"image": [photo, ("a.png", b"not a picture")]}, "image"),
        ({"image": [photo] * 17}, "image"),
        ({"extra_body": {"svg": {"model": "x"}}}, "svg[model]"),
        ({"markup": photo}, "markup"),
        ({"extra_body": {"strength": 1.5}}, "strength"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            call(**{"prompt": "a boat", "image": photo, **fields})
        assert refused.value.param == param
    answer = requests.post(f"{server.url}/v1/images/edits", data={"prompt": "x", "image": "y"}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")
    answer = requests.post(f"{server.url}/v1/images/edits", files={"prompt": (None, "x")}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")


def test_an_unknown_model(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.images.generate(prompt="a boat", model="none")
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")


def test_what_was_shown_on_the_way_goes_with_a_cancelled_job(client: OpenAI, server: RunningServer) -> None:
    with client.images.generate(
        prompt="a boat that is left", size="2048x2048", n=10, stream=True, partial_images=1
    ) as stream:
        assert next(iter(stream)).type == "image_generation.partial_image"

    def left() -> dict[str, Any] | None:
        jobs: list[dict[str, Any]] = server.json("jobs", "list")
        found = (job for job in jobs if job["request"]["prompt"] == "a boat that is left")
        return next((job for job in found if job["state"] == "cancelled"), None)

    job = eventually(left, what="the end of the job")
    eventually(
        lambda: not [path for path in files_below(server.data_dir) if job["id"] in str(path)],
        what="the end of its files",
    )
