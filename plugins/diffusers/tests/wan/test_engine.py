"""What the Wan backends share, on tiny models: exactness, caching, progress, cancelling, memory."""

import gc
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from msgspec.structs import replace
from PIL import Image

from framegate.core.errors import GenerationFailed, JobCancelled, OutOfMemory
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.media.images.fitting import open_image
from tests.support.tiny_models import AnyWanBackend, Calls, LoadTiny, TinyModel, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("wan21_t2v", Task.TEXT_TO_VIDEO),
        ("wan21_i2v", Task.IMAGE_TO_VIDEO),
        ("wan22_ti2v", Task.TEXT_TO_VIDEO),
        ("wan22_ti2v", Task.IMAGE_TO_VIDEO),
        ("wan22_a14b_i2v", Task.IMAGE_TO_VIDEO),
    ],
)
def test_frames_are_those_of_the_plain_diffusers_call(
    load_wan: LoadTiny[AnyWanBackend],
    tiny_model: TinyModel,
    tmp_path: Path,
    image: Path,
    name: str,
    task: Task,
) -> None:
    shot = small_shot(task, negative_prompt="bad", num_inference_steps=3)
    ours = generate(load_wan(name), shot, RecordingContext(tmp_path, image=image))
    kind: Any = WanImageToVideoPipeline if task == Task.IMAGE_TO_VIDEO else WanPipeline
    plain = kind.from_pretrained(str(tiny_model(name)), dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    frames = plain(
        **({"image": open_image(image, 96, 64)} if task == Task.IMAGE_TO_VIDEO else {}),
        prompt=shot.prompt,
        negative_prompt="bad",
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=3,
        guidance_scale=3.0,
        generator=torch.Generator("cpu").manual_seed(7),
    ).frames[0]
    assert np.array_equal(ours, (frames * 255).round().astype(np.uint8))


def test_a_cached_prompt_gives_the_same_and_is_not_encoded_again(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, negative_prompt="bad")
    context = RecordingContext(tmp_path)
    backend = load_wan("wan21_t2v")
    first = generate(backend, shot, context)
    with Calls(backend.loaded_engine.pipeline.text_encoder) as encoder:
        assert np.array_equal(generate(backend, shot, context), first)
        assert encoder.count == 0
        generate(backend, small_shot(Task.TEXT_TO_VIDEO, prompt="another", negative_prompt="bad"), context)
        assert encoder.count == 1, "the negative prompt was known"
    without = load_wan("wan21_t2v", prompt_cache=0)
    assert np.array_equal(generate(without, shot, context), first)
    assert without.loaded_engine.embeddings.num_bytes == 0


@pytest.mark.parametrize("name", ["wan21_i2v", "wan22_ti2v", "wan22_a14b_i2v"])
def test_a_known_image_gives_the_same_and_is_not_encoded_again(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, image: Path, name: str
) -> None:
    shot = small_shot(Task.IMAGE_TO_VIDEO)
    backend = load_wan(name)
    first = generate(backend, shot, RecordingContext(tmp_path, image=image))
    parts = backend.loaded_engine.pipeline
    another = tmp_path / "other.png"
    Image.new("RGB", (96, 64), "orange").save(another)
    with Calls(parts.vae.encoder) as encoder, Calls(parts.image_encoder or torch.nn.Identity()) as eye:
        assert np.array_equal(generate(backend, shot, RecordingContext(tmp_path, image=image)), first)
        assert (encoder.count, eye.count) == (0, 0)
        other = generate(backend, shot, RecordingContext(tmp_path, image=another))
        assert encoder.count > 0
        assert not np.array_equal(other, first)
        narrow = generate(backend, replace(shot, width=64), RecordingContext(tmp_path, image=image))
        assert narrow.shape[2] == 64


def test_cached_embeddings_have_the_length_that_the_image_needs(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, image: Path
) -> None:
    backend = load_wan("wan21_i2v")
    generate(backend, small_shot(Task.IMAGE_TO_VIDEO), RecordingContext(tmp_path, image=image))
    (embedding,) = backend.loaded_engine.embeddings.get(
        small_shot(Task.IMAGE_TO_VIDEO).prompt, lambda: pytest.fail("it is cached")
    )
    assert embedding.shape[1] == 512


def test_progress_is_reported_for_every_step_and_frame(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    context = RecordingContext(tmp_path)
    generate(load_wan("wan22_ti2v"), small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4), context)
    messages = [message for _, _, message in context.reports]
    assert messages[0] == "encoding the prompt"
    assert messages[1:5] == [f"step {step} of 4" for step in range(1, 5)]
    assert messages[5:] == ["decoding"] * 9
    shares = [step / total for step, total, _ in context.reports]
    assert shares == sorted(shares)
    assert shares[4] == pytest.approx(0.8)
    assert shares[-1] == 1.0


class CancelledIn(RecordingContext):
    """A context whose job is cancelled while ``model`` is called for the ``at``-th time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cancelled = False

    def check_cancelled(self) -> None:
        if self.cancelled:
            raise JobCancelled


@pytest.mark.parametrize("place", ["text encoder", "transformer", "decoder"])
def test_a_cancel_is_noticed_within_a_block_and_harms_nothing(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, place: str
) -> None:
    backend = load_wan("wan21_t2v")
    parts = backend.loaded_engine.pipeline
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = generate(backend, shot, RecordingContext(tmp_path))
    backend.loaded_engine.embeddings.clear()
    first, second = {
        "text encoder": parts.text_encoder.encoder.block[:2],
        "transformer": parts.transformer.blocks[:2],
        "decoder": parts.vae.decoder.up_blocks[:2],
    }[place]
    context = CancelledIn(tmp_path)

    def cancel(*_: object) -> None:
        context.cancelled = True

    hook = first.register_forward_hook(cancel)
    with Calls(second) as later, pytest.raises(JobCancelled):
        generate(backend, shot, context)
    hook.remove()
    # The cancel point of the second block raises before it computes; the counting hook comes after it.
    assert later.count == 0
    assert np.array_equal(generate(backend, shot, RecordingContext(tmp_path)), expected)


def test_a_job_abandoned_while_encoding_does_not_disturb_the_next(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    backend = load_wan("wan21_t2v")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = generate(backend, shot, RecordingContext(tmp_path))
    left = backend.generate(shot, RecordingContext(tmp_path)).frames
    next(left)
    context = RecordingContext(tmp_path, cancel_after=3)
    with pytest.raises(JobCancelled):
        generate(backend, shot, context)
    del left
    assert np.array_equal(generate(backend, shot, RecordingContext(tmp_path)), expected)


@pytest.mark.parametrize("place", ["denoising", "encoding the prompt"])
def test_running_out_of_memory_fails_one_job(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, place: str
) -> None:
    backend = load_wan("wan22_ti2v")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = generate(backend, shot, RecordingContext(tmp_path))
    backend.loaded_engine.embeddings.clear()
    parts = backend.loaded_engine.pipeline
    model = parts.transformer if place == "denoising" else parts.text_encoder
    with (
        Calls(model, torch.OutOfMemoryError("CUDA out of memory"), fail_at=1),
        pytest.raises(OutOfMemory, match=f"while {place}.*96×64.*should need about half"),
    ):
        generate(backend, shot, RecordingContext(tmp_path))
    assert np.array_equal(generate(backend, shot, RecordingContext(tmp_path)), expected)


def test_no_memory_to_load_says_so_and_the_next_try_works(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = AnyWanBackend(str(tiny_model("wan21_t2v")))

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(WanPipeline, "from_pretrained", full)
        with pytest.raises(OutOfMemory, match="while loading the model; another offload or quantize"):
            backend.load("cpu")
    backend.load("cpu")
    assert len(generate(backend, small_shot(Task.TEXT_TO_VIDEO), RecordingContext(tmp_path))) == 9
    backend.unload()


def test_sizes_are_warmed_up(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = load_wan("wan22_ti2v", warm_up=["64x64x5"])
    assert "warmed_up" in capfd.readouterr().out
    shot = small_shot(Task.TEXT_TO_VIDEO)
    assert np.array_equal(
        generate(backend, shot, RecordingContext(tmp_path)),
        generate(load_wan("wan22_ti2v"), shot, RecordingContext(tmp_path)),
    )


def test_another_kind_of_model_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(GenerationFailed, match="holds StableDiffusionXLPipeline, not a Wan model"):
        AnyWanBackend(str(tiny_model("sdxl"))).load("cpu")


def live_tensor_bytes() -> int:
    gc.collect()
    # Not those of other types, such as the compiler's, which have no storage.
    plain = (torch.Tensor, torch.nn.Parameter)
    tensors: list[torch.Tensor] = [found for found in gc.get_objects() if type(found) in plain]
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def test_jobs_leave_no_memory_behind(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, image: Path) -> None:
    backend = load_wan("wan22_ti2v", prompt_cache=200_000)

    def run_jobs(count: int) -> None:
        for number in range(count):
            shot = small_shot(
                Task.IMAGE_TO_VIDEO if number % 2 else Task.TEXT_TO_VIDEO,
                prompt=f"video {number}",
                width=64,
                height=64,
                num_frames=1,
                num_inference_steps=1,
                guidance_scale=1.0,
                seed=number,
            )
            generate(backend, shot, RecordingContext(tmp_path, image=image))

    tracemalloc.start()
    try:
        run_jobs(20)  # the cache of embeddings is full now
        tensors, (traced, _) = live_tensor_bytes(), tracemalloc.get_traced_memory()
        run_jobs(20)
        assert live_tensor_bytes() == tensors
        # Python keeps some small objects for reuse; a job's frame alone is 12 kB.
        assert tracemalloc.get_traced_memory()[0] - traced < 20 * 2_000
    finally:
        tracemalloc.stop()
