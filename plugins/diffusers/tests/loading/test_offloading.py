"""Weights that are moved to the device for the phase that needs them."""

import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framegate.core.errors import JobCancelled
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.diffusers.planning.placement import Offload
from tests.support.offloading import FakeDevice, weights_of
from tests.support.tiny_models import (
    IMAGE_SHOT,
    AnyWanBackend,
    LoadTiny,
    TinyModel,
    generate,
    small_shot,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SHOT = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=3)
OFFLOADS: list[Offload] = ["text-encoder", "model", "group"]


def copied(device: FakeDevice) -> Counter[str]:
    """Return how often each kind of module was copied since the last call."""
    names = Counter(type(module).__name__ for module in device.copied)
    device.copied.clear()
    return names


@pytest.mark.parametrize("offload", ["text-encoder", "model"])
def test_weights_are_copied_once_a_job_and_never_back(
    load_wan: LoadTiny[AnyWanBackend], fake_device: FakeDevice, tmp_path: Path, offload: Offload
) -> None:
    expected = generate(load_wan("wan22_a14b_t2v"), SHOT, RecordingContext(tmp_path))
    backend = fake_device.load(offload, lambda: load_wan("wan22_a14b_t2v"))
    before = weights_of(backend)
    encoder = {"UMT5EncoderModel": 1}
    others = {"WanTransformer3DModel": 2, "AutoencoderKLWan": 1} if offload == "model" else {}
    assert np.array_equal(generate(backend, SHOT, RecordingContext(tmp_path)), expected)
    assert copied(fake_device) == encoder | others, "each of the two experts once"
    assert np.array_equal(generate(backend, SHOT, RecordingContext(tmp_path)), expected)
    assert copied(fake_device) == others, "the prompt was cached"
    assert weights_of(backend) == before
    assert not fake_device.holds


def test_one_phase_is_on_the_device_at_a_time(
    load_wan: LoadTiny[AnyWanBackend], fake_device: FakeDevice, tmp_path: Path, image: Path
) -> None:
    backend = fake_device.load("model", lambda: load_wan("wan21_i2v"))
    held: set[frozenset[str]] = set()

    def look(*_: object) -> None:
        held.add(frozenset(type(module).__name__ for module in fake_device.holds))

    pipeline = backend.loaded_engine.pipeline
    for part in (pipeline.text_encoder, pipeline.image_encoder, pipeline.transformer, pipeline.vae.decoder):
        part.register_forward_hook(look)
    generate(backend, small_shot(Task.IMAGE_TO_VIDEO), RecordingContext(tmp_path, image=image))
    assert held == {
        frozenset({"UMT5EncoderModel"}),
        frozenset({"UMT5EncoderModel", "CLIPVisionModel"}),
        frozenset({"WanTransformer3DModel"}),
        frozenset({"AutoencoderKLWan"}),
    }


def test_blocks_are_streamed_in_each_pass(
    load_wan: LoadTiny[AnyWanBackend], fake_device: FakeDevice, tmp_path: Path
) -> None:
    expected = generate(load_wan("wan21_t2v"), SHOT, RecordingContext(tmp_path))
    backend = fake_device.load("group", lambda: load_wan("wan21_t2v"))
    before = weights_of(backend)
    assert np.array_equal(generate(backend, SHOT, RecordingContext(tmp_path)), expected)
    passes, num_blocks = 2 * SHOT.num_inference_steps, len(backend.loaded_engine.pipeline.transformer.blocks)
    counts = copied(fake_device)
    assert counts["WanTransformerBlock"] == passes * num_blocks + 1, (
        "and the first, for a pass that never came"
    )
    assert counts["WanTransformer3DModel"] == 1, "what is not part of a block"
    assert weights_of(backend) == before
    assert not fake_device.holds


def test_tasks_share_what_moves_the_weights(
    load_wan: LoadTiny[AnyWanBackend], fake_device: FakeDevice, tmp_path: Path, image: Path
) -> None:
    shots = [small_shot(Task.TEXT_TO_VIDEO), small_shot(Task.IMAGE_TO_VIDEO)]
    context = RecordingContext(tmp_path, image=image)
    plain = load_wan("wan22_ti2v")
    expected = [generate(plain, shot, context) for shot in shots]
    backend = fake_device.load("model", lambda: load_wan("wan22_ti2v"))
    for number in (0, 1, 0):
        assert np.array_equal(generate(backend, shots[number], context), expected[number])


def test_images_with_partial_images_are_the_same(
    load_images: LoadTiny[ImagesBackend], fake_device: FakeDevice, tmp_path: Path
) -> None:
    expected = generate(load_images("sdxl"), IMAGE_SHOT, RecordingContext(tmp_path))
    for offload in ("model", "group"):
        backend = fake_device.load(offload, lambda: load_images("sdxl"))
        context = RecordingContext(tmp_path, num_partial_images=1)
        assert np.array_equal(generate(backend, IMAGE_SHOT, context), expected), offload
        assert context.partial_images
        assert not fake_device.holds


@pytest.mark.parametrize("kind", ["int8-weights", "fp8-layerwise"])
def test_quantised_blocks_are_streamed(
    load_wan: LoadTiny[AnyWanBackend], fake_device: FakeDevice, tmp_path: Path, kind: str
) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = generate(load_wan("wan21_t2v", quantize=kind), shot, RecordingContext(tmp_path))
    backend = fake_device.load("group", lambda: load_wan("wan21_t2v", quantize=kind))
    before = weights_of(backend)
    assert np.array_equal(generate(backend, shot, RecordingContext(tmp_path)), expected)
    assert weights_of(backend) == before


def test_the_room_to_decode_in_is_measured_when_the_transformer_has_left(
    load_images: LoadTiny[ImagesBackend],
    fake_device: FakeDevice,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = fake_device.load("model", lambda: load_images("sdxl"))
    held: list[list[str]] = []

    def needed(*_: object) -> int:
        held.append([type(module).__name__ for module in fake_device.holds])
        return 0

    monkeypatch.setattr(type(backend.loaded_engine.memory), "decoding", needed)
    generate(backend, IMAGE_SHOT, RecordingContext(tmp_path, num_partial_images=0))
    assert held == [["AutoencoderKL"]]


@pytest.mark.parametrize("offload", OFFLOADS)
def test_a_cancelled_job_leaves_the_weights_as_they_were(
    load_wan: LoadTiny[AnyWanBackend], fake_device: FakeDevice, tmp_path: Path, offload: Offload
) -> None:
    from framegate.plugins.diffusers.cancellation import blocks_of

    backend = fake_device.load(offload, lambda: load_wan("wan21_t2v"))
    before = weights_of(backend)

    def cancel(*_: object) -> None:
        raise JobCancelled

    for part in ("text_encoder", "transformer", "vae"):
        hook = blocks_of(getattr(backend.loaded_engine.pipeline, part))[-1].register_forward_hook(cancel)
        with pytest.raises(JobCancelled):
            generate(backend, SHOT, RecordingContext(tmp_path))
        hook.remove()
        assert not fake_device.holds
        assert weights_of(backend) == before
    assert len(generate(backend, SHOT, RecordingContext(tmp_path))) == SHOT.num_frames


@pytest.mark.parametrize("offload", OFFLOADS)
def test_unloading_frees_both_copies(
    tiny_model: TinyModel, fake_device: FakeDevice, tmp_path: Path, offload: Offload
) -> None:
    def load() -> AnyWanBackend:
        backend = AnyWanBackend(str(tiny_model("wan21_t2v")))
        backend.load("cpu")
        return backend

    backend = fake_device.load(offload, load)
    stream: Any = backend.generate(SHOT, RecordingContext(tmp_path))
    next(stream.frames)  # the job is abandoned while it decodes
    pipeline = backend.loaded_engine.pipeline
    parts = (pipeline.text_encoder, pipeline.transformer, pipeline.vae)
    alive = [weakref.ref(one) for part in parts for one in (part, *part.parameters())]
    del pipeline, parts
    fake_device.copied.clear()
    backend.unload()
    assert not fake_device.holds
    assert not [found for one in alive if (found := one()) is not None]
