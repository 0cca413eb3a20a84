"""Step caches on tiny models of every family, run as the real ones are."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.hooks import apply_group_offloading
from msgspec import convert
from msgspec.structs import replace

from framegate.core.errors import GenerationFailed, JobCancelled
from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.diffusers.loading.compiling import compile_blocks
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.step_cache import schedules
from framegate.plugins.diffusers.step_cache.schedules import (
    DEFAULT_LEVELS,
    FEW_STEPS,
    Levels,
    Skips,
    create_schedule,
)
from framegate.plugins.diffusers.wan.cache_levels import cache_levels
from framegate.plugins.diffusers.wan.variants import Variant
from tests.support.tiny_models import (
    AnyWanBackend,
    Calls,
    LoadTiny,
    generate,
    small_shot,
    write_video,
)

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 12
TEXT = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=STEPS)
NEVER_SKIPS: dict[str, Any] = {"cache": "first-block", "cache_threshold": 1e-9}
"""A cache through which every step still goes."""


def denoisers(backend: DiffusersBackend) -> list[Any]:
    return backend.loaded_engine.loaded.denoisers


def last_blocks(backend: DiffusersBackend) -> list[Any]:
    """The blocks that a skipped step doesn't compute, of each transformer the last."""
    return [
        [block for block in model.modules() if type(block).__name__ in model._repeated_blocks][-1]
        for model in denoisers(backend)
    ]


@contextmanager
def block_calls(backend: DiffusersBackend) -> Generator[Sequence[Calls]]:
    counters = [Calls(block) for block in last_blocks(backend)]
    yield counters
    for counter in counters:
        counter.__exit__()


def counted(backend: DiffusersBackend, shot: Shot, context: RecordingContext) -> tuple[Any, int]:
    """What ``backend`` generates, and how often the last blocks ran for it."""
    with block_calls(backend) as counters:
        frames = generate(backend, shot, context)
    return frames, sum(counter.count for counter in counters)


def set_cache(backend: DiffusersBackend, **options: Any) -> None:
    """Make a loaded model use another cache; what else it is stays."""
    from framegate.plugins.diffusers.step_cache.cache import StepCache

    engine = backend.loaded_engine
    engine.step_cache = StepCache(Options(**options), denoisers(backend))


@pytest.mark.parametrize("name", ["wan21_t2v", "wan22_ti2v", "wan22_a14b_t2v"])
def test_stronger_caches_skip_more_and_stay_near_the_exact_video(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, name: str
) -> None:
    backend, context = load_wan(name), RecordingContext(tmp_path)
    # Each of two experts retains the first of its own steps.
    shot = replace(TEXT, num_inference_steps=24) if "a14b" in name else TEXT
    exact, full = counted(backend, shot, context)
    assert full == 2 * shot.num_inference_steps
    counts = [full]
    for level in ("light", "strong"):
        set_cache(backend, cache=level)
        frames, count = counted(backend, shot, context)
        again, count_again = counted(backend, shot, context)
        assert np.array_equal(frames, again), "no job inherits the cache of another"
        assert count == count_again
        assert not np.array_equal(frames, exact)
        assert np.abs(frames.astype(int) - exact).mean() < 3
        counts.append(count)
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize(
    ("kind", "computed"),
    [
        ({"cache": "first-block", "cache_threshold": 1.0}, 3 + 1),
        ({"cache": "taylorseer", "cache_interval": 3}, 3 + 3),
        ({"cache": "magcache", "cache_threshold": 1.0}, 3 + 3),
    ],
)
def test_the_names_of_single_caches_still_work(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, kind: dict[str, Any], computed: int
) -> None:
    _, count = counted(load_wan("wan21_t2v", **kind), TEXT, RecordingContext(tmp_path))
    assert count == 2 * computed


def test_none_is_off(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    _, count = counted(load_wan("wan21_t2v", cache="none"), TEXT, RecordingContext(tmp_path))
    assert count == 2 * STEPS


def test_both_experts_have_their_own_cache(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    backend = load_wan("wan22_a14b_t2v", cache="taylorseer", cache_interval=50)
    with block_calls(backend) as counters:
        generate(backend, TEXT, RecordingContext(tmp_path))
    high, low = (counter.count for counter in counters)
    assert low == 2 * (3 + 1), "it lays out with steps of its own, and computes the last"
    assert high == 2 * 3
    assert high + low < 2 * STEPS


def test_a_remix_is_cached_over_the_steps_that_it_has(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    video = write_video(tmp_path / "video.mp4", size=(64, 64))
    shot = small_shot(Task.VIDEO_TO_VIDEO, num_inference_steps=24, strength=0.5)
    backend = load_wan("wan21_t2v", cache="taylorseer", cache_interval=3)
    frames, count = counted(backend, shot, RecordingContext(tmp_path, video=video))
    assert count == 2 * (3 + 3)
    assert np.array_equal(frames, generate(backend, shot, RecordingContext(tmp_path, video=video)))


@pytest.mark.parametrize("name", ["wan21_t2v", "wan22_a14b_t2v"])
def test_a_cache_that_skips_nothing_changes_nothing(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, name: str
) -> None:
    backend, context = load_wan(name), RecordingContext(tmp_path)
    exact = generate(backend, TEXT, context)
    set_cache(backend, **NEVER_SKIPS)
    assert np.array_equal(exact, generate(backend, TEXT, context))


@pytest.mark.parametrize("name", ["qwen_image", "flux_kontext"])
def test_images_are_cached_like_videos(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path, image: Path, name: str
) -> None:
    backend, context = load_images(name), RecordingContext(tmp_path, image=image)
    task = Task.IMAGE_TO_IMAGE if name == "flux_kontext" else Task.TEXT_TO_IMAGE
    shot = small_shot(task, num_frames=1, fps=0.0, num_inference_steps=STEPS)
    exact, full = counted(backend, shot, context)
    set_cache(backend, **NEVER_SKIPS)
    assert np.array_equal(exact, generate(backend, shot, context))
    set_cache(backend, cache="taylorseer")
    frames, count = counted(backend, shot, context)
    assert count == full // 2
    assert not np.array_equal(exact, frames)
    assert np.abs(frames.astype(int) - exact).mean() < 3
    assert np.array_equal(frames, generate(backend, shot, context))


@pytest.mark.parametrize("forecast", [False, True])
def test_a_last_block_that_drops_the_text_is_no_obstacle(forecast: bool) -> None:
    torch.manual_seed(0)
    model: Any = SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        out_channels=4,
        pos_embed_max_size=16,
    ).eval()
    inputs: dict[str, Any] = {
        "hidden_states": torch.randn(2, 4, 8, 8),
        "encoder_hidden_states": torch.randn(2, 5, 32),
        "pooled_projections": torch.randn(2, 16),
        "timestep": torch.tensor([5.0, 5.0]),
    }
    schedule = schedules.Schedule((True, True, True, False, False, True), forecast=forecast)
    with torch.no_grad():
        (exact,) = model(**inputs, return_dict=False)
        from framegate.plugins.diffusers.step_cache.blocks import CachedTransformer

        cached = CachedTransformer(model)
        for _ in schedule.computed:
            cached.begin_pass("pass 1", lambda: schedule, inputs)
            assert torch.allclose(model(**inputs, return_dict=False)[0], exact, atol=1e-5)
        cached.close()


def test_a_model_without_such_blocks_says_so(
    load_images: LoadTiny[ImagesBackend], capfd: pytest.CaptureFixture[str]
) -> None:
    load_images("sdxl", cache="light")
    assert "the blocks of UNet2DConditionModel can't be skipped" in capfd.readouterr().out


def test_weights_without_published_ratios_refuse_magcache(load_images: LoadTiny[ImagesBackend]) -> None:
    with pytest.raises(GenerationFailed, match="no MagCache ratios are published"):
        load_images("qwen_image", cache="magcache")


def test_few_steps_are_all_computed(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    backend = load_wan("wan21_t2v", cache="strong")
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=FEW_STEPS, guidance_scale=1.0)
    _, count = counted(backend, shot, RecordingContext(tmp_path))
    assert count == FEW_STEPS
    assert "8 steps leave none to skip" in capfd.readouterr().out


def test_a_cancelled_job_leaves_nothing_to_the_next(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path
) -> None:
    backend, context = load_wan("wan22_a14b_t2v", cache="strong"), RecordingContext(tmp_path)
    other = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=20, width=64, guidance_scale=1.0)
    alone = generate(backend, TEXT, context)
    names = [[name for name, _ in model.named_parameters()] for model in denoisers(backend)]
    for expert, at in ((0, 1), (0, 4), (1, 7)):
        first_block = denoisers(backend)[expert].blocks[0]
        with Calls(first_block, JobCancelled("enough"), fail_at=at), pytest.raises(JobCancelled):
            generate(backend, other, context)
        assert names == [[name for name, _ in model.named_parameters()] for model in denoisers(backend)]
    assert not any(model._forward_pre_hooks for model in denoisers(backend))
    generate(backend, other, context)
    assert np.array_equal(alone, generate(backend, TEXT, context))


def test_cancel_points_still_fire(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    backend = load_wan("wan21_t2v", cache="strong")
    checks = [0, 0]

    class Counting(RecordingContext):
        def check_cancelled(self) -> None:
            checks[-1] += 1

    for cache in ("off", "strong"):
        checks.append(0)
        set_cache(backend, cache=cache)
        generate(backend, TEXT, Counting(tmp_path))
    assert 0 < checks[-1] < checks[-2]


def test_compiled_blocks_give_the_same_video(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    backend, context = load_wan("wan21_t2v", cache="strong"), RecordingContext(tmp_path)
    eager = generate(backend, TEXT, context)
    compile_blocks(denoisers(backend)[0], backend="eager")
    assert np.allclose(eager.astype(int), generate(backend, TEXT, context), atol=1)


@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloaded_models_keep_their_hooks(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, offload: str
) -> None:
    backend, context = load_wan("wan21_t2v", cache="strong"), RecordingContext(tmp_path)
    resident = generate(backend, TEXT, context)
    (transformer,) = denoisers(backend)
    if offload == "model":
        import_module("accelerate").cpu_offload_with_hook(transformer, torch.device("cpu"))
    else:
        apply_group_offloading(transformer, torch.device("cpu"), torch.device("cpu"), "leaf_level")
    for _ in range(2):
        assert np.array_equal(resident, generate(backend, TEXT, context))
        assert hasattr(transformer, "_hf_hook" if offload == "model" else "_diffusers_hook")


def test_cache_dit_writes_nothing(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    generate(load_wan("wan21_t2v", cache="strong"), TEXT, RecordingContext(tmp_path))
    assert "Cache-DiT" not in "".join(capfd.readouterr())


def test_a_worker_without_cache_dit_says_what_to_install(
    load_wan: LoadTiny[AnyWanBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        return None

    monkeypatch.setattr("framegate.plugins.diffusers.step_cache.cache.find_spec", missing)
    load_wan("wan21_t2v")
    with pytest.raises(GenerationFailed, match="needs the package cache-dit"):
        load_wan("wan21_t2v", cache="light")


def written(computed: Sequence[bool]) -> str:
    return "".join("#" if step else "." for step in computed)


MAGCACHE = Levels(Skips(0.06, 2, 0.2), Skips(0.12, 4, 0.2), (1.0, *[0.99] * 29))


@pytest.mark.parametrize(
    ("options", "levels", "run", "expected"),
    [
        ({"cache": "light"}, MAGCACHE, range(30), "######..#..#..#..#..#..#..#..#"),
        ({"cache": "strong"}, MAGCACHE, range(30), "######....#....#....#....#...#"),
        ({"cache": "strong"}, MAGCACHE, range(20, 30), "###...#..#"),
        ({"cache": "light"}, DEFAULT_LEVELS, range(30), "############.###..###..##..#.#"),
        ({"cache": "strong"}, DEFAULT_LEVELS, range(30), "#########.#...#....#.....#...#"),
        ({"cache": "taylorseer", "cache_interval": 4}, MAGCACHE, range(30), "###...#...#...#...#...#...#..#"),
        ({"cache": "first-block"}, MAGCACHE, range(30), "###..........................#"),
        ({"cache": "first-block"}, MAGCACHE, range(28, 30), "##"),
    ],
)
def test_a_schedule_says_which_steps_are_computed(
    options: dict[str, Any], levels: Levels, run: range, expected: str
) -> None:
    schedule = create_schedule(Options(**options), levels, run=run, steps=30)
    assert written(schedule.computed) == expected


def authors_steps(ratios: Sequence[float], level: Skips, steps: int, split: int, *, t2v: bool) -> list[bool]:
    """The conditional passes that `magcache_forward` of MagCache4Wan2.2 computes; its names and counting."""
    num_steps, split_step, cnt = 2 * steps, 2 * split, 0
    accumulated_ratio, accumulated_err, accumulated_steps = 1.0, 0.0, 0
    computed: list[bool] = []
    for cnt in range(0, num_steps, 2):
        second = int(split_step + (num_steps - split_step) * level.retention)
        if t2v:
            use_magcache = int(split_step * level.retention) <= cnt < split_step or cnt >= second
        else:
            use_magcache = cnt >= second
        skip_forward = False
        if cnt == split_step:
            accumulated_ratio, accumulated_err, accumulated_steps = 1.0, 0.0, 0
        if use_magcache:
            accumulated_ratio *= ratios[cnt // 2]
            accumulated_steps += 1
            accumulated_err += abs(1 - accumulated_ratio)
            if accumulated_err <= level.threshold and accumulated_steps <= level.max_skips:
                skip_forward = True
            else:
                accumulated_ratio, accumulated_err, accumulated_steps = 1.0, 0.0, 0
        computed.append(not skip_forward)
    computed[-1] = True  # ours
    return computed


@pytest.mark.parametrize("level", ["light", "strong"])
@pytest.mark.parametrize(("task", "split"), [(Task.TEXT_TO_VIDEO, 26), (Task.IMAGE_TO_VIDEO, 15)])
def test_each_expert_retains_and_skips_as_its_authors_do(task: Task, split: int, level: str) -> None:
    levels = cache_levels(Variant(frozenset({task}), experts=True), {}, small_shot(task))
    steps = 40
    computed = [
        step
        for run in (range(split), range(split, steps))
        for step in create_schedule(convert({"cache": level}, Options), levels, run=run, steps=steps).computed
    ]
    skips = getattr(levels, level)
    wanted = authors_steps(levels.mag_ratios, skips, steps, split, t2v=task == Task.TEXT_TO_VIDEO)
    assert written(computed) == written(wanted)
    assert all(computed[:split]) == (task == Task.IMAGE_TO_VIDEO)


def test_an_expert_skips_by_its_own_steps(load_wan: LoadTiny[AnyWanBackend], tmp_path: Path) -> None:
    backend = load_wan("wan22_a14b_t2v", cache="light")
    runs: list[range] = []

    def record(options: Options, levels: Levels, *, run: range, steps: int) -> schedules.Schedule:
        runs.append(run)
        return create_schedule(options, levels, run=run, steps=steps)

    with pytest.MonkeyPatch.context() as patch, block_calls(backend) as counters:
        patch.setattr("framegate.plugins.diffusers.step_cache.cache.create_schedule", record)
        set_cache(backend, **NEVER_SKIPS)
        generate(backend, replace(TEXT, guidance_scale=1.0), RecordingContext(tmp_path))
    high, low = (counter.count for counter in counters)
    assert runs == [range(high), range(high, high + low)]
    assert high + low == STEPS


def test_ratios_fit_any_number_of_steps() -> None:
    ratios = [float(number) for number in range(50)]
    for steps in (9, 30, 50, 100):
        fitted = schedules.interpolate(ratios, steps)
        assert (len(fitted), fitted[0], fitted[-1]) == (steps, 0.0, 49.0)
        assert fitted == sorted(fitted)
