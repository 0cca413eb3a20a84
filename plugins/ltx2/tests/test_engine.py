"""LTX-2 on tiny random weights, loaded and run by the code that runs the real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] # typed in part
)

from framegate.core.backend import Audio, Backend, FrameStream
from framegate.core.errors import ConfigError, GenerationFailed, JobCancelled, OutOfMemory
from framegate.core.fitting import fit
from framegate.core.testing import BackendContract, RecordingContext, gradient_png
from framegate.core.types import GenerationRequest, Shot, Task
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.planning.placement import Offload
from framegate.plugins.ltx2 import LTX2, TWO_STAGE, engine
from framegate.plugins.ltx2.backend import Ltx2Backend
from framegate.plugins.ltx2.guidance import OFF
from tests.support.offloading import FakeDevice, weights_of

if TYPE_CHECKING:
    from framegate.core.backend import Frame

pytestmark = pytest.mark.usefixtures("one_thread")

FULL = Shot(
    task=Task.TEXT_TO_VIDEO,
    prompt="a red ball on a green field",
    width=96,
    height=64,
    num_frames=17,
    fps=24.0,
    seed=3,
    num_inference_steps=2,
    guidance_scale=4.0,
)
FAST = replace(FULL, guidance_scale=1.0)


@pytest.fixture(scope="session")
def ltx2(models: Path) -> Ltx2Backend:
    return load(models / "ltx2")


def load(source: Path, **options: Any) -> Ltx2Backend:
    backend = Ltx2Backend(str(source), options)
    backend.load("cpu")
    return backend


def pipeline_of(backend: Ltx2Backend) -> Any:
    return backend.loaded_engine.pipeline


def generate(
    backend: Backend, shot: Shot, folder: Path, image: Path | None = None, last_image: Path | None = None
) -> "tuple[list[Frame], Audio]":
    stream = backend.generate(shot, RecordingContext(folder, image=image, last_image=last_image))
    assert isinstance(stream, FrameStream)
    frames = list(stream.frames)
    assert stream.audio is not None
    audio = stream.audio()
    assert audio is not None
    return frames, audio


def same(first: "list[Frame]", second: "list[Frame]") -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def from_image(shot: Shot) -> Shot:
    return replace(shot, task=Task.IMAGE_TO_VIDEO)


class TestFull(BackendContract):
    spec: ClassVar = LTX2

    @pytest.fixture
    def backend(self, models: Path) -> Backend:
        return Ltx2Backend(str(models / "ltx2"))


class TestNewer(BackendContract):
    spec: ClassVar = LTX2

    @pytest.fixture
    def backend(self, models: Path) -> Backend:
        return Ltx2Backend(str(models / "ltx23"))


class TestDistilledTwoStage(BackendContract):
    spec: ClassVar = TWO_STAGE.with_preset("distilled-8step")
    request_values: ClassVar = {"width": 128, "height": 128}

    @pytest.fixture
    def backend(self, models: Path) -> Backend:
        return Ltx2Backend(str(models / "ltx2_distilled"), {**self.spec.options, "loras": []})


@pytest.mark.parametrize(("name", "rate"), [("ltx2", 24_000), ("ltx23", 48_000)])
def test_the_audio_lasts_as_long_as_the_frames(models: Path, tmp_path: Path, name: str, rate: int) -> None:
    frames, audio = generate(load(models / name), FULL, tmp_path)
    assert audio.sample_rate == rate
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape[0] == 2
    assert audio.samples.shape[1] / rate == pytest.approx(len(frames) / FULL.fps, abs=0.06)
    assert float(np.abs(audio.samples).max()) > 0.01


def test_there_is_no_audio_before_the_frames(ltx2: Ltx2Backend, tmp_path: Path) -> None:
    stream = ltx2.generate(FAST, RecordingContext(tmp_path))
    assert stream.audio is not None
    assert stream.audio() is None


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_frames_and_audio_equal_those_of_the_plain_pipeline(
    models: Path, ltx2: Ltx2Backend, tmp_path: Path, guidance_scale: float
) -> None:
    from diffusers import LTX2Pipeline

    shot = replace(FULL, guidance_scale=guidance_scale, negative_prompt="blurred")
    frames, audio = generate(ltx2, shot, tmp_path)
    plain: Any = LTX2Pipeline.from_pretrained(models / "ltx2", dtype=torch.float32)
    guided: dict[str, Any] = (
        OFF if guidance_scale == 1.0 else {"guidance_scale": 4.0, "spatio_temporal_guidance_blocks": [1]}
    )
    plain_video, plain_audio = plain(
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        width=shot.width,
        height=shot.height,
        num_frames=shot.num_frames,
        frame_rate=shot.fps,
        num_inference_steps=shot.num_inference_steps,
        generator=torch.Generator("cpu").manual_seed(shot.seed),
        output_type="np",
        return_dict=False,
        **guided,
    )
    wanted = (plain_video[0] * 255).round().astype(np.uint8)
    assert np.abs(np.stack(frames).astype(int) - wanted).max() <= 1
    assert np.allclose(audio.samples, plain_audio[0].numpy(), atol=1e-5)


@pytest.mark.parametrize(("guidance_scale", "passes"), [(1.0, 1), (4.0, 2)])
@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO])
def test_without_guidance_a_step_is_one_forward_pass(
    ltx2: Ltx2Backend, tmp_path: Path, task: Task, guidance_scale: float, passes: int
) -> None:
    shot = replace(FULL, task=task, guidance_scale=guidance_scale)
    assert forward_passes(ltx2, shot, tmp_path) == passes * shot.num_inference_steps


def test_the_newer_weights_are_guided_by_a_perturbed_pass_too(models: Path, tmp_path: Path) -> None:
    assert forward_passes(load(models / "ltx23"), FULL, tmp_path) == 3 * FULL.num_inference_steps


def forward_passes(backend: Ltx2Backend, shot: Shot, folder: Path) -> int:
    count = 0

    def counted(module: object, arguments: object, result: object) -> None:
        nonlocal count
        count += 1

    handle = pipeline_of(backend).transformer.register_forward_hook(counted)
    try:
        generate(backend, shot, folder, image=gradient_png(folder / "image.png"))
    finally:
        handle.remove()
    return count


def test_two_stages_make_eight_steps_and_three(models: Path, tmp_path: Path) -> None:
    backend = load(models / "ltx2_distilled", schedule="distilled", stages=2)
    shot = replace(FAST, width=128, num_inference_steps=8)
    assert forward_passes(backend, shot, tmp_path) == 8 + 3
    context = RecordingContext(tmp_path)
    assert len(list(backend.generate(shot, context).frames)) == shot.num_frames
    steps = [message for _, _, message in context.reports if message.startswith("step")]
    assert steps[0] == "step 1 of 8, part 1 of 2"
    assert steps[-1] == "step 3 of 3, part 2 of 2"
    done = [step for step, _, _ in context.reports]
    assert done == sorted(done)
    assert context.reports[-1][0] == context.reports[-1][1]


def test_the_first_and_the_last_image_count(ltx2: Ltx2Backend, tmp_path: Path) -> None:
    gradient, grey = gradient_png(tmp_path / "gradient.png"), tmp_path / "grey.png"
    gradient_png(grey, 1, 1)
    shot = from_image(FAST)
    plain, _ = generate(ltx2, shot, tmp_path, image=gradient)
    assert not same(plain, generate(ltx2, shot, tmp_path, image=grey)[0])
    with_last, _ = generate(ltx2, shot, tmp_path, image=gradient, last_image=grey)
    assert not same(plain, with_last)
    assert not same(with_last, generate(ltx2, shot, tmp_path, image=gradient, last_image=gradient)[0])


def test_an_unreadable_image_fails_with_a_sentence(ltx2: Ltx2Backend, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    with pytest.raises(GenerationFailed, match="can't be read"):
        generate(ltx2, from_image(FAST), tmp_path, image=broken)
    with pytest.raises(GenerationFailed, match="has none"):
        generate(ltx2, from_image(FAST), tmp_path)


def test_a_prompt_is_encoded_once(models: Path, tmp_path: Path) -> None:
    backend = load(models / "ltx2")
    first, _ = generate(backend, FULL, tmp_path)

    def encoded_again(*arguments: object, **named: object) -> None:
        raise AssertionError("the prompt was encoded again")

    pipeline_of(backend).text_encoder.forward = encoded_again
    assert same(first, generate(backend, FULL, tmp_path)[0])


def test_a_cancelled_job_stops_within_a_step_and_leaves_nothing_behind(
    ltx2: Ltx2Backend, tmp_path: Path
) -> None:
    wanted, _ = generate(ltx2, FULL, tmp_path)

    class Cancelled(RecordingContext):
        checks = 0

        def check_cancelled(self) -> None:
            self.checks += 1
            if any(message.startswith("step 1") for _, _, message in self.reports):
                raise JobCancelled

    context = Cancelled(tmp_path)
    with pytest.raises(JobCancelled):
        list(ltx2.generate(FULL, context).frames)
    assert len(context.reports) == 2  # encoding, and the first step
    assert context.checks >= 2 + 2 * 2  # two passes over two blocks, beside the reports
    assert same(wanted, generate(ltx2, FULL, tmp_path)[0])


@pytest.mark.parametrize(
    ("part", "doing"), [("text_encoder", "encoding"), ("transformer", "denoising"), ("vocoder", "decoding")]
)
def test_running_out_of_memory_fails_one_job_alone(
    ltx2: Ltx2Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, doing: str
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    shot = replace(FAST, prompt=f"a prompt of its own for {part}")
    with monkeypatch.context() as patch:
        patch.setattr(getattr(pipeline_of(ltx2), part), "forward", full)
        with pytest.raises(OutOfMemory, match=doing):
            generate(ltx2, shot, tmp_path)
    assert len(generate(ltx2, shot, tmp_path)[0]) == shot.num_frames


def test_what_can_not_be_decoded_in_one_piece_is_decoded_in_tiles(
    ltx2: Ltx2Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = pipeline_of(ltx2).vae
    decode: Callable[..., Any] = vae.decoder.forward
    failures = 0

    def small_only(hidden: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        nonlocal failures
        if hidden.shape[2] > 3:
            failures += 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return decode(hidden, *arguments, **named)

    monkeypatch.setattr(vae.decoder, "forward", small_only)
    shot = replace(FAST, num_frames=49)
    for _ in range(2):
        assert len(generate(ltx2, shot, tmp_path)[0]) == 49
    assert failures == 1, "the next job tiles at once"


def test_the_second_stage_has_a_lora_of_its_own(models: Path, tmp_path: Path) -> None:
    source = testing.save("ltx2", tmp_path / "model")
    testing.save("latent_upsampler", source / "latent_upsampler")
    shot = replace(FAST, width=128)

    def refined_by(strength: float) -> "list[Frame]":
        lora = testing.save_lora("ltx2", tmp_path / f"lora-{strength}", strength)
        backend = load(source, stages=2, refine_lora={"source": str(lora)})
        first, _ = generate(backend, shot, tmp_path)
        assert same(
            first, generate(backend, shot, tmp_path)[0]
        )  # nothing of it is left for the next first stage
        return first

    assert not same(refined_by(0.0), refined_by(5.0))


def test_what_is_offloaded_gives_the_same(models: Path, fake_device: FakeDevice, tmp_path: Path) -> None:
    upsampler = str(models / "ltx2_distilled" / "latent_upsampler")
    lora = testing.save_lora("ltx23", tmp_path / "lora", 5.0)
    options = {"stages": 2, "upsampler": upsampler, "refine_lora": {"source": str(lora)}}
    shot = replace(FULL, width=128)
    expected, audio = generate(load(models / "ltx23", **options), shot, tmp_path)
    offloads: list[Offload] = ["text-encoder", "model", "group"]
    for offload in offloads:
        backend = fake_device.load(offload, lambda: load(models / "ltx23", **options))
        before = weights_of(backend)
        frames, same_audio = generate(backend, shot, tmp_path)
        assert same(frames, expected)
        assert np.array_equal(audio.samples, same_audio.samples)
        assert weights_of(backend) == before, "the adapter's, too"
        assert not fake_device.holds
        kinds = [type(module).__name__ for module in fake_device.copied]
        assert kinds.count("LTX2TextConnectors") == 1, "both prompts are encoded in one phase"
        if offload == "model":
            assert kinds.count("LTX2VideoTransformer3DModel") == 1, "it stays for both stages"


@pytest.mark.parametrize("quantize", ["int8-weights", "fp8-layerwise"])
def test_the_second_stages_lora_keeps_its_precision_beside_quantised_weights(
    models: Path, tmp_path: Path, quantize: str
) -> None:
    source = models / "ltx2_distilled"
    lora = testing.save_lora("ltx2", tmp_path / "lora", 5.0)
    backend = load(source, stages=2, refine_lora={"source": str(lora)}, quantize=quantize)
    layer = pipeline_of(backend).transformer.transformer_blocks[0].attn1.to_q
    names = {name: tensor for name, tensor in load_file(lora).items() if "blocks.0.attn1.to_q.lora_" in name}
    for name, stored in names.items():
        adapter = (layer.lora_A if "lora_A" in name else layer.lora_B)["refine"]
        assert torch.equal(adapter.weight, stored)
    assert len(names) == 2
    frames, _ = generate(backend, replace(FAST, width=128), tmp_path)
    assert layer.disable_adapters, "the first stage of the next job runs without it"
    without = load(source, stages=2, refine_lora={"source": str(lora), "strength": 0.0}, quantize=quantize)
    assert not same(frames, generate(without, replace(FAST, width=128), tmp_path)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache": "magcache"}, "'light' or 'strong'"),
        ({"stages": 2}, "distillation LoRA"),
        ({"stages": 2, "schedule": "distilled"}, "options.upsampler"),
    ],
)
def test_options_that_do_not_fit_together_are_refused_at_load(
    models: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GenerationFailed, match=message):
        load(models / "ltx2", **options)


def test_an_unknown_option_is_named(models: Path) -> None:
    with pytest.raises(ConfigError, match="stage"):
        load(models / "ltx2", stage=2)


def test_the_fewest_steps_make_a_video(ltx2: Ltx2Backend, tmp_path: Path) -> None:
    request = GenerationRequest(
        model="ltx2", task=Task.TEXT_TO_VIDEO, prompt="a ball", num_inference_steps=1, num_frames=16
    )
    fitted = fit(LTX2, request)
    assert (fitted.num_inference_steps, fitted.num_frames) == (2, 17)
    shot = replace(FAST, num_inference_steps=fitted.num_inference_steps)
    frames, _ = generate(ltx2, shot, tmp_path)
    assert np.stack(frames).std() > 1  # neither black nor grey, as NaN would be


def test_sizes_are_warmed_up(models: Path, ltx2: Ltx2Backend, tmp_path: Path) -> None:
    warm = load(models / "ltx2", warm_up=["96x64x17"])
    assert same(generate(warm, FULL, tmp_path)[0], generate(ltx2, FULL, tmp_path)[0])


def test_a_kernel_that_refuses_masks_runs_the_model(
    models: Path, ltx2: Ltx2Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep_masks(transformer: object) -> None: ...

    expected, _ = generate(ltx2, FAST, tmp_path)
    # Without registers in the text connectors, the transformer's cross-attention has masks, too.
    monkeypatch.setattr(engine, "drop_masks", keep_masks)
    backend = load(models / "ltx2", attention="_native_flash")
    assert backend.loaded_engine.loaded.attention == "_native_flash"
    frames, _ = generate(backend, FAST, tmp_path)
    assert (
        max(np.abs(one.astype(int) - other).max() for one, other in zip(frames, expected, strict=True)) <= 1
    )
