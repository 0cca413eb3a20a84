"""What the Wan backends share, on models in miniature: exactness, memory, cancelling, and every lever."""

import ctypes
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKLWan,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from msgspec.structs import replace
from PIL import Image
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] # typed in part
    save_file,  # pyright: ignore[reportUnknownVariableType] # likewise
)

from framegate.core.errors import GenerationFailed, JobCancelled, OutOfMemory
from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.compiling import compile_blocks
from framegate.plugins.diffusers.image_io import open_picture
from framegate.plugins.diffusers.wan.backend import WanBackend
from framegate.plugins.diffusers.wan.decoding import denormalized, streamed
from framegate.plugins.diffusers.wan.engine import WanEngine
from tests.support.tiny_models import TinyModel, counting_film, made, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")


class Backend(WanBackend):
    install = "pip install nothing"


Load = Callable[..., Backend]


@pytest.fixture
def load(tiny_model: TinyModel) -> Iterator[Load]:
    loaded: list[Backend] = []

    def start(name: str, **options: Any) -> Backend:
        backend = Backend(str(tiny_model(name)), options)
        backend.load("cpu")
        loaded.append(backend)
        return backend

    yield start
    for backend in loaded:
        backend.unload()


def engine_of(backend: Backend) -> WanEngine:
    engine = backend._running  # pyright: ignore[reportPrivateUsage] # tests look inside
    assert isinstance(engine, WanEngine)
    return engine


def parts_of(backend: Backend) -> Any:
    """The pipeline that holds all components."""
    return engine_of(backend)._loaded.pipeline  # pyright: ignore[reportPrivateUsage] # tests look inside


class Calls:
    """Counts the calls of a model; raises ``error`` at call number ``fail_at``."""

    def __init__(self, model: torch.nn.Module, error: Exception | None = None, fail_at: int = 0) -> None:
        self.count = 0
        self._error, self._fail_at = error, fail_at
        self._hook = model.register_forward_pre_hook(self._called)

    def _called(self, *_: object) -> None:
        self.count += 1
        if self._error is not None and self.count == self._fail_at:
            raise self._error

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


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
    load: Load, tiny_model: TinyModel, tmp_path: Path, picture: Path, name: str, task: Task
) -> None:
    shot = small_shot(task, negative_prompt="bad", num_inference_steps=3)
    ours = made(load(name), shot, RecordingContext(tmp_path, image=picture))
    kind = WanImageToVideoPipeline if task == Task.IMAGE_TO_VIDEO else WanPipeline
    plain = kind.from_pretrained(str(tiny_model(name)), dtype=torch.float32)
    plain.set_progress_bar_config(disable=True)
    frames = plain(
        **({"image": open_picture(picture, 96, 64)} if task == Task.IMAGE_TO_VIDEO else {}),
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


@pytest.mark.parametrize("name", ["wan21_t2v", "wan22_ti2v"])
def test_decoding_in_a_stream_changes_no_bit(tiny_model: TinyModel, name: str) -> None:
    vae = AutoencoderKLWan.from_pretrained(str(tiny_model(name)), subfolder="vae")
    scale = vae.config.scale_factor_spatial
    latents = torch.randn(
        (1, vae.config.z_dim, 4, 64 // scale, 96 // scale), generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        ready = denormalized(vae, latents)
        whole = vae.decode(ready, return_dict=False)[0]
    expected = (whole[0] / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()
    frames = list(streamed(vae, ready))
    assert len(frames) == 13
    assert np.array_equal(np.stack(frames), expected)
    for stopped_after in (1, 5):
        stream = streamed(vae, ready)
        for _ in range(stopped_after):
            next(stream)
        del stream
    assert np.array_equal(np.stack(list(streamed(vae, ready))), expected), (
        "a stream that was left is forgotten"
    )


def test_a_cached_prompt_gives_the_same_and_is_not_encoded_again(load: Load, tmp_path: Path) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, negative_prompt="bad")
    context = RecordingContext(tmp_path)
    backend = load("wan21_t2v")
    first = made(backend, shot, context)
    with Calls(parts_of(backend).text_encoder) as encoder:
        assert np.array_equal(made(backend, shot, context), first)
        assert encoder.count == 0
        made(backend, small_shot(Task.TEXT_TO_VIDEO, prompt="another", negative_prompt="bad"), context)
        assert encoder.count == 1, "the negative prompt was known"
    without = load("wan21_t2v", prompt_cache=0)
    assert np.array_equal(made(without, shot, context), first)
    assert engine_of(without).prompts.num_bytes == 0


@pytest.mark.parametrize("name", ["wan21_i2v", "wan22_ti2v", "wan22_a14b_i2v"])
def test_a_known_picture_gives_the_same_and_is_not_encoded_again(
    load: Load, tmp_path: Path, picture: Path, name: str
) -> None:
    shot = small_shot(Task.IMAGE_TO_VIDEO)
    backend = load(name)
    first = made(backend, shot, RecordingContext(tmp_path, image=picture))
    parts = parts_of(backend)
    another = tmp_path / "other.png"
    Image.new("RGB", (96, 64), "orange").save(another)
    with Calls(parts.vae.encoder) as encoder, Calls(parts.image_encoder or torch.nn.Identity()) as eye:
        assert np.array_equal(made(backend, shot, RecordingContext(tmp_path, image=picture)), first)
        assert (encoder.count, eye.count) == (0, 0)
        other = made(backend, shot, RecordingContext(tmp_path, image=another))
        assert encoder.count > 0
        assert not np.array_equal(other, first)
        narrow = made(backend, replace(shot, width=64), RecordingContext(tmp_path, image=picture))
        assert narrow.shape[2] == 64


def test_cached_embeddings_have_the_length_that_the_picture_needs(
    load: Load, tmp_path: Path, picture: Path
) -> None:
    backend = load("wan21_i2v")
    made(backend, small_shot(Task.IMAGE_TO_VIDEO), RecordingContext(tmp_path, image=picture))
    (embedding,) = engine_of(backend).prompts.get(
        small_shot(Task.IMAGE_TO_VIDEO).prompt, lambda: pytest.fail("it is cached")
    )
    assert embedding.shape[1] == 512


def test_progress_is_told_for_every_step_and_frame(load: Load, tmp_path: Path) -> None:
    context = RecordingContext(tmp_path)
    made(load("wan22_ti2v"), small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4), context)
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
def test_a_cancel_is_noticed_within_a_block_and_harms_nothing(load: Load, tmp_path: Path, place: str) -> None:
    backend = load("wan21_t2v")
    parts = parts_of(backend)
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = made(backend, shot, RecordingContext(tmp_path))
    engine_of(backend).prompts.clear()
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
        made(backend, shot, context)
    hook.remove()
    # The cancel point of the second block raises before it computes; the counting hook comes after it.
    assert later.count == 0
    assert np.array_equal(made(backend, shot, RecordingContext(tmp_path)), expected)


def test_a_job_that_is_left_while_encoding_does_not_disturb_the_next(load: Load, tmp_path: Path) -> None:
    backend = load("wan21_t2v")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = made(backend, shot, RecordingContext(tmp_path))
    left = backend.generate(shot, RecordingContext(tmp_path)).frames
    next(left)
    context = RecordingContext(tmp_path, cancel_after=3)
    with pytest.raises(JobCancelled):
        made(backend, shot, context)
    del left
    assert np.array_equal(made(backend, shot, RecordingContext(tmp_path)), expected)


@pytest.mark.parametrize("place", ["denoising", "encoding the prompt"])
def test_running_out_of_memory_fails_one_job(load: Load, tmp_path: Path, place: str) -> None:
    backend = load("wan22_ti2v")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = made(backend, shot, RecordingContext(tmp_path))
    engine_of(backend).prompts.clear()
    parts = parts_of(backend)
    model = parts.transformer if place == "denoising" else parts.text_encoder
    with (
        Calls(model, torch.OutOfMemoryError("CUDA out of memory"), fail_at=1),
        pytest.raises(OutOfMemory, match=f"while {place}.*96×64.*should need about half"),
    ):
        made(backend, shot, RecordingContext(tmp_path))
    assert np.array_equal(made(backend, shot, RecordingContext(tmp_path)), expected)


def test_decoding_goes_on_in_tiles_where_memory_runs_out(load: Load, tmp_path: Path) -> None:
    shot = small_shot(
        Task.TEXT_TO_VIDEO, width=320, height=64, num_frames=5, num_inference_steps=1, guidance_scale=1.0
    )
    backend = load("wan21_t2v")
    whole = made(backend, shot, RecordingContext(tmp_path))
    with Calls(parts_of(backend).vae.decoder, torch.OutOfMemoryError("CUDA out of memory"), fail_at=1):
        in_tiles = made(backend, shot, RecordingContext(tmp_path))
    assert in_tiles.shape == whole.shape
    always = made(load("wan21_t2v", vae_tiling="on"), shot, RecordingContext(tmp_path))
    assert np.array_equal(in_tiles, always)
    assert (in_tiles != whole).any(), "tiles are not exact"
    assert np.array_equal(made(backend, shot, RecordingContext(tmp_path)), whole), "the next job is"


def test_decoding_that_fits_in_no_way_fails_the_job(load: Load, tmp_path: Path) -> None:
    backend = load("wan21_t2v", vae_tiling="off")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = made(backend, shot, RecordingContext(tmp_path))
    for fail_at in (1, 3):
        with (
            Calls(parts_of(backend).vae.decoder, torch.OutOfMemoryError("no"), fail_at=fail_at),
            pytest.raises(OutOfMemory, match="while decoding 96×64 with 9 frames"),
        ):
            made(backend, shot, RecordingContext(tmp_path))
    assert np.array_equal(made(backend, shot, RecordingContext(tmp_path)), expected)


def test_no_memory_to_load_says_so_and_the_next_try_works(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Backend(str(tiny_model("wan21_t2v")))

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(WanPipeline, "from_pretrained", full)
        with pytest.raises(OutOfMemory, match="while loading the model; another offload or quantize"):
            backend.load("cpu")
    backend.load("cpu")
    assert len(made(backend, small_shot(Task.TEXT_TO_VIDEO), RecordingContext(tmp_path))) == 9
    backend.unload()


CACHES: dict[str, dict[str, Any]] = {
    "first-block": {"cache_threshold": 1.0},
    "taylorseer": {"cache_interval": 3},
    "magcache": {"cache_threshold": 1.0},
}


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("name", ["wan21_t2v", "wan22_a14b_t2v"])
def test_a_step_cache_skips_work_and_leaves_nothing_behind(
    load: Load, tmp_path: Path, kind: str, name: str
) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=12)
    backend = load(name, cache=kind, **CACHES[kind])
    parts = parts_of(backend)
    transformers = [parts.transformer, *([parts.transformer_2] if name == "wan22_a14b_t2v" else [])]
    last = [list(model.blocks)[-1].ffn for model in transformers]
    counts: list[int] = []
    results: list[Any] = []
    for _ in range(3):
        counters = [Calls(module) for module in last]
        results.append(made(backend, shot, RecordingContext(tmp_path)))
        counts.append(sum(counter.count for counter in counters))
        assert not any(model.is_cache_enabled for model in transformers)
    full = 2 * 12
    if kind == "magcache":
        assert counts[0] == full, "the first run measures"
        counts, results = counts[1:], results[1:]
    assert all(count < full for count in counts)
    assert np.array_equal(results[0], results[1]), "every job begins anew"


def test_a_step_cache_leaves_remixes_alone(load: Load, tmp_path: Path, picture: Path) -> None:
    film = counting_film(tmp_path / "film.mp4", 9, 16)
    shot = small_shot(Task.VIDEO_TO_VIDEO)
    context = RecordingContext(tmp_path, video=film)
    assert np.array_equal(
        made(load("wan21_t2v", cache="first-block"), shot, context), made(load("wan21_t2v"), shot, context)
    )


@pytest.mark.parametrize("kind", ["int8-weights", "fp8-weights", "fp8-layerwise"])
def test_quantised_weights_give_nearly_the_same(load: Load, tmp_path: Path, kind: str) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, guidance_scale=1.0)
    exact = made(load("wan21_t2v"), shot, RecordingContext(tmp_path)).astype(float)
    near = made(load("wan21_t2v", quantize=kind), shot, RecordingContext(tmp_path)).astype(float)
    assert (exact != near).any(), "it is not exact"
    assert np.abs(exact - near).mean() < 12


def lightx2v_lora(folder: Path, transformer: Any) -> Path:
    """A LoRA of rank 2 in the names that lightx2v gives, over every attention of the first block."""
    random = torch.Generator().manual_seed(3)
    width = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    tensors: dict[str, torch.Tensor] = {}
    for number in range(transformer.config.num_layers):
        for layer in (
            "self_attn.q",
            "self_attn.k",
            "self_attn.v",
            "self_attn.o",
            "cross_attn.q",
            "cross_attn.k",
        ):
            name = f"diffusion_model.blocks.{number}.{layer}"
            tensors[f"{name}.lora_down.weight"] = torch.randn((2, width), generator=random)
            tensors[f"{name}.lora_up.weight"] = torch.randn((width, 2), generator=random)
    path = folder / "lightx2v.safetensors"
    save_file(tensors, path)
    return path


def test_a_lora_in_other_tools_names_is_merged(load: Load, tiny_model: TinyModel, tmp_path: Path) -> None:
    transformer = WanTransformer3DModel.from_pretrained(
        str(tiny_model("wan22_a14b_t2v")), subfolder="transformer"
    )
    lora = str(lightx2v_lora(tmp_path, transformer))
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4)

    def with_loras(*loras: dict[str, Any]) -> Any:
        backend = load("wan22_a14b_t2v", loras=list(loras))
        assert not any("lora" in name for name, _ in parts_of(backend).transformer.named_modules()), "merged"
        return made(backend, shot, RecordingContext(tmp_path))

    plain = with_loras()
    first, second = {"source": lora}, {"source": lora, "component": "transformer_2"}
    assert np.array_equal(with_loras({**first, "strength": 0.0}), plain)
    assert (with_loras(first) != plain).any()
    assert (with_loras(second) != plain).any()
    assert (with_loras(first) != with_loras(first, second)).any()


@pytest.mark.parametrize("wrong", ["missing", "of another model"])
def test_a_lora_that_does_not_belong_is_refused(load: Load, tmp_path: Path, wrong: str) -> None:
    path = tmp_path / "wrong.safetensors"
    if wrong == "of another model":
        save_file(
            {
                "unet.mid_block.lora_A.weight": torch.ones(2, 2),
                "unet.mid_block.lora_B.weight": torch.ones(2, 2),
            },
            path,
        )
    with pytest.raises(GenerationFailed, match=r"LoRA 'wrong\.safetensors'") as caught:
        load("wan21_t2v", loras=[{"source": str(path)}])
    assert str(tmp_path) not in caught.value.message


def original_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """diffusers' names of Wan's transformer as its authors have them."""
    renamed = {
        "condition_embedder.time_embedder.linear_1": "time_embedding.0",
        "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.text_embedder.linear_1": "text_embedding.0",
        "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_proj": "time_projection.1",
        "attn1.to_out.0": "self_attn.o",
        "attn2.to_out.0": "cross_attn.o",
        "attn1.to_": "self_attn.",
        "attn2.to_": "cross_attn.",
        "attn1.": "self_attn.",
        "attn2.": "cross_attn.",
        "norm2": "norm3",
        "ffn.net.0.proj": "ffn.0",
        "ffn.net.2": "ffn.2",
        "proj_out": "head.head",
    }
    names: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        original = name
        for ours, theirs in renamed.items():
            original = original.replace(ours, theirs)
        if original == "scale_shift_table":
            original = "head.modulation"
        names[original.replace("scale_shift_table", "modulation")] = tensor
    return names


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_transformer_comes_from_a_single_file(
    load: Load, tiny_model: TinyModel, tmp_path: Path, kind: str
) -> None:
    folder = tiny_model("wan21_t2v")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = made(load("wan21_t2v"), shot, RecordingContext(tmp_path))
    [weights] = (folder / "transformer").glob("*.safetensors")
    tensors = original_names(load_file(weights))
    path = tmp_path / f"wan.{kind}"
    if kind == "safetensors":
        save_file({name: tensor * 1.0 for name, tensor in tensors.items()}, path)
    else:
        write_gguf(path, tensors)
    backend = load("wan21_t2v", weights={"transformer": str(path)})
    frames = made(backend, shot, RecordingContext(tmp_path))
    # A file's tensors lie elsewhere in memory, and the CPU then adds up in another order.
    assert np.abs(frames.astype(int) - expected).max() <= (1 if kind == "safetensors" else 16)
    if kind == "gguf":
        assert (frames != expected).any(), "eight bits are not exact"


def write_gguf(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """In eight bits where a row has whole blocks of 32, as quantised models are."""
    import gguf

    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        if name.startswith("blocks.") and values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"tokenizer": "a.safetensors"}, "'tokenizer' can't come from a file; .*transformer.* can"),
        ({"transformer": "/nowhere/a.safetensors"}, "no file 'a.safetensors'"),
        ({"transformer": "{tmp}/a.ckpt"}, "neither .safetensors nor .gguf"),
        ({"transformer": "{tmp}/a.safetensors"}, "a.safetensors does not fit WanTransformer3DModel"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    load: Load, tmp_path: Path, weights: dict[str, str], words: str
) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"")
    save_file({"something": torch.ones(2)}, tmp_path / "a.safetensors")
    files = {name: file.replace("{tmp}", str(tmp_path)) for name, file in weights.items()}
    with pytest.raises(GenerationFailed, match=words) as caught:
        load("wan21_t2v", weights=files)
    assert str(tmp_path) not in caught.value.message


def test_all_blocks_are_compiled_once(tiny_model: TinyModel) -> None:
    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    model = WanTransformer3DModel.from_pretrained(str(tiny_model("wan21_t2v")), subfolder="transformer")
    inputs: dict[str, Any] = {
        "hidden_states": torch.randn((1, 16, 2, 8, 8), generator=torch.Generator().manual_seed(1)),
        "timestep": torch.tensor([500]),
        "encoder_hidden_states": torch.randn((1, 512, 32), generator=torch.Generator().manual_seed(2)),
        "return_dict": False,
    }
    with torch.no_grad():
        (eager,) = model(**inputs)
        assert compile_blocks(model, backend="aot_eager") == 2
        second = Calls(model.blocks[1])
        (compiled,) = model(**inputs)
    assert torch.allclose(eager, compiled, atol=1e-5)
    assert second.count == 1, "hooks stay outside of what is compiled"
    assert counters["stats"]["unique_graphs"] == 1, "one graph for both"


def test_sizes_are_warmed_up(load: Load, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    backend = load("wan22_ti2v", warm_up=["64x64x5"])
    assert "warmed_up" in capfd.readouterr().out
    shot = small_shot(Task.TEXT_TO_VIDEO)
    assert np.array_equal(
        made(backend, shot, RecordingContext(tmp_path)),
        made(load("wan22_ti2v"), shot, RecordingContext(tmp_path)),
    )


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("offload", "group", "the device is cpu, not CUDA"),
        ("attention", "sage", "sage needs CUDA"),
        ("compile", True, "the device is cpu, not CUDA"),
        ("quantize", "fp8", "the weights alone are quantised"),
    ],
)
def test_what_needs_cuda_says_why_it_is_not_used(
    load: Load, tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, value: Any, words: str
) -> None:
    backend = load("wan21_t2v", **{option: value})
    assert words in capfd.readouterr().out
    assert len(made(backend, small_shot(Task.TEXT_TO_VIDEO), RecordingContext(tmp_path))) == 9


def test_an_unknown_attention_backend_is_refused(load: Load) -> None:
    with pytest.raises(GenerationFailed, match=r"no attention backend 'flush'; there are .*native"):
        load("wan21_t2v", attention="flush")


def test_another_kind_of_model_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(GenerationFailed, match="holds StableDiffusionXLPipeline, not a Wan model"):
        Backend(str(tiny_model("sdxl"))).load("cpu")


def test_the_memory_that_a_model_needs_is_known_before(tiny_model: TinyModel) -> None:
    backend = Backend(str(tiny_model("wan21_t2v")))
    needed = backend.memory_needed("cpu")
    backend.load("cpu")
    parts = parts_of(backend)
    held = sum(
        parameter.numel() * parameter.element_size()
        for module in (parts.transformer, parts.vae, parts.text_encoder)
        for parameter in module.parameters()
    )
    backend.unload()
    assert needed == pytest.approx(held, rel=0.02)


def resident_kilobytes() -> int:
    """Without what the C library keeps of the tests before."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def test_a_thousand_jobs_take_no_more_memory(load: Load, tmp_path: Path) -> None:
    backend = load("wan22_ti2v", prompt_cache=200_000)

    def jobs(count: int) -> None:
        for number in range(count):
            made(backend, tiny(number), RecordingContext(tmp_path))

    def tiny(number: int) -> Shot:
        return small_shot(
            Task.TEXT_TO_VIDEO,
            prompt=f"video {number // 5}",
            width=32,
            height=32,
            num_frames=1,
            num_inference_steps=1,
            guidance_scale=1.0,
            seed=number,
        )

    jobs(100)
    before = resident_kilobytes()
    jobs(1000)
    assert resident_kilobytes() < before * 1.01
