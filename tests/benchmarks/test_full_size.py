"""The full-size models of the GPU benchmark take the sizes that it asks for; it needs no memory for them."""

from typing import Any

import pytest
import torch

from framegate.core.types import ShotSize
from tests.benchmarks import full_size
from tests.benchmarks.gpu.models import CASES, Case
from tests.benchmarks.gpu.vae import DECODES, Decode, latent_shape
from tests.support.tiny_models import one_thread

__all__ = ["one_thread"]

pytestmark = pytest.mark.usefixtures("one_thread")
META = torch.device("meta")


def empty(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device=META)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.name != "ltx2-768"], ids=lambda case: case.name
)
def test_one_layer_takes_the_whole_video(case: Case) -> None:
    pipeline = full_size.on_device(lambda: case.build(1, 1), META, case.dtypes(full_size=True))
    shape = latent_shape(pipeline.vae, ShotSize(case.shot.width, case.shot.height, case.shot.num_frames))
    run = ltx2_step if case.name == "ltx2" else wan_step
    with torch.no_grad():
        run(pipeline, shape)


def wan_step(pipeline: Any, shape: tuple[int, ...]) -> None:
    frames, height, width = shape[2:]
    per_token = pipeline.config.expand_timesteps
    timestep = empty(1, frames * height * width // 4) if per_token else empty(1)
    text = empty(1, 512, pipeline.text_encoder.config.d_model)
    for name in ("transformer", "transformer_2"):
        transformer = getattr(pipeline, name)
        if transformer is None:
            continue
        (out,) = transformer(
            hidden_states=empty(*shape), timestep=timestep, encoder_hidden_states=text, return_dict=False
        )
        assert out.shape == shape
        assert {parameter.dtype for parameter in transformer.blocks.parameters()} >= {torch.bfloat16}
    assert pipeline.vae.dtype == torch.float32


def ltx2_step(pipeline: Any, shape: tuple[int, ...]) -> None:
    _, channels, frames, height, width = shape
    tokens, audio = frames * height * width, 126
    text = pipeline.text_encoder.config.text_config
    states = empty(1, 1024, text.hidden_size * (text.num_hidden_layers + 1))  # those of all layers
    mask = torch.ones((1, 1024), dtype=torch.int64, device=META)
    embeddings, audio_embeddings, _ = pipeline.connectors(states, mask, padding_side="left")
    video, sound = pipeline.transformer(
        hidden_states=empty(1, tokens, channels),
        audio_hidden_states=empty(1, audio, 128),
        encoder_hidden_states=embeddings,
        audio_encoder_hidden_states=audio_embeddings,
        timestep=empty(1),
        sigma=empty(1),
        num_frames=frames,
        height=height,
        width=width,
        fps=24.0,
        audio_num_frames=audio,
        return_dict=False,
    )
    assert video.shape == (1, tokens, channels)
    assert sound.shape == (1, audio, 128)


@pytest.mark.parametrize("decode", DECODES.values(), ids=lambda decode: decode.name)
def test_a_vae_decodes_the_size_that_is_measured(decode: Decode) -> None:
    with META:
        vae: Any = decode.build().to(torch.bfloat16)
    size = decode.size
    if decode.tiny != "ltx2":
        size = ShotSize(size.width, size.height, 5)  # Wan's decode each chunk alike
    latents = empty(*latent_shape(vae, size))
    with torch.no_grad():
        arguments = (None,) if decode.tiny == "ltx2" else ()
        (pixels,) = vae.decode(latents, *arguments, return_dict=False)
    assert pixels.shape == (1, 3, size.num_frames, size.height, size.width)
