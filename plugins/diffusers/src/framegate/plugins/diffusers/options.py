"""The options that a model of these backends can have in the config."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Positive = Annotated[int, Meta(ge=1)]
WarmUpSize = Annotated[
    str,
    Meta(
        pattern=r"^\d+x\d+x\d+$",
        description='a width, a height and a number of frames, such as "1280x704x121"',
    ),
]
Share = Annotated[float, Meta(gt=0.0, le=1.0)]
AttentionKernel: TypeAlias = Literal[
    "auto",
    "native",
    "flash",
    "flash_hub",
    "flash_varlen",
    "flash_varlen_hub",
    "flash_4_hub",
    "flex",
    "sage",
    "sage_hub",
    "sage_blackwell_hub",
    "sage_varlen",
    "xformers",
    "aiter_fa2_hub",
    "_flash_3",
    "_flash_varlen_3",
    "_flash_3_hub",
    "_flash_3_varlen_hub",
    "_native_cudnn",
    "_native_efficient",
    "_native_flash",
    "_native_math",
    "_native_npu",
    "_native_xla",
    "_sage_qk_int8_pv_fp8_cuda",
    "_sage_qk_int8_pv_fp8_cuda_sm90",
    "_sage_qk_int8_pv_fp16_cuda",
    "_sage_qk_int8_pv_fp16_triton",
]
"""diffusers' attention backends, named here as configs are checked without it, and what chooses one."""


DENOISERS = ("transformer", "transformer_2", "unet")
"""The components that every step runs."""


class Lora(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One LoRA: ``source`` is a file, a folder or a hub id (``weight_name`` names the file in it).

    ``revision`` pins a hub repository to a commit.

    ``component``: the transformer that takes it; the low-noise half of a two-transformer model is
    ``transformer_2``, and the Stable Diffusion family has a ``unet`` instead.
    """

    source: str
    weight_name: str = ""
    revision: str = ""
    strength: float = 1.0
    component: Literal["transformer", "transformer_2", "unet"] = "transformer"


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every model's options; none changes a pixel unless it says so here.

    Weights
        ``revision``, ``variant``: of the hub's repository. ``offline``: never connect to the hub.
        ``dtype``: what transformers and text encoders compute in; auto is bfloat16 on CUDA, float32 on the
        CPU. ``vae_dtype``: likewise for the VAE; auto is what the family needs. ``vae_decode_dtype``: of
        its decoder alone; auto is the VAE's, another is not exact.
        ``weights``: a file for a component instead of the folder's own, ``.safetensors`` (one file, in the
        original or diffusers' names) or ``.gguf`` (quantised: smaller, a little less exact, slower).
        ``loras``: merged into the weights at load, so they take no time afterwards; beside those of a
        ``.gguf`` file, where each layer takes a little longer, as with one that only some steps use.
        ``flow_shift``: of the scheduler; None keeps the family's rule.
    Memory
        ``offload``: "none" keeps everything on the device; "text-encoder" moves only the text encoders there
        and back; "model" moves whole models in turn (a few seconds a job); "group" streams block by block
        (for cards that can't hold the transformer). auto is the first that fits.
        ``headroom``: bytes kept free for activations when auto decides; 0 is the family's own estimate.
        ``vae_tiling``: decode in overlapping tiles (slight differences, less memory). auto does so only where
        decoding in one piece runs out of memory.
        ``prompt_cache``: bytes of encoded prompts and images in host memory; 0 switches it off.
    Speed
        ``attention``: "auto" measures which exact kernel of those that the card and the installed packages
        offer is the fastest; or any of diffusers' attention backends ("sage" is faster still and not exact).
        ``attention_kernels``: a folder with the kernels of backends whose name ends in "hub", each under its
        repository's name, such as "kernels-community/flash-attn3"; "" downloads them.
        ``attention_revision``: the commit of a downloaded one; "" is the version that diffusers names.
        ``compile``: compile the repeated blocks; auto does so on CUDA where a compiler is present. All
        sizes run the same code, for which the first job waits, as does the first with or without guidance, or
        from an image, where those take other code. ``compile_cache``: the folder that keeps compiled code.
        ``warm_up``: sizes ("1280x704x121": width, height, frames) that are generated once, in two steps,
        when the model is loaded, so that no job waits for the compiler.
        ``cache``: skip work in steps that hardly differ from the last. Not exact. "light" and "strong" are
        settings that the caches' authors recommend for the family. For settings of one's own: "first-block"
        compares the first block's output (a larger ``cache_threshold`` is faster and less accurate),
        "taylorseer" predicts all but every ``cache_interval``-th step, "magcache" skips steps until the
        magnitudes published for the weights have changed by ``cache_threshold`` in sum. "none" is "off".
        ``quantize``: "fp8" (weights and activations, for cards from compute capability 8.9), "int8"
        (likewise, from 8.0), "fp8-weights" and "int8-weights" (half the memory), "fp8-layerwise" (half the
        memory on any card, stored in fp8 and computed in the dtype). None is exact, and none is for
        ``weights`` from a ``.gguf`` file, which are quantised already.
    """

    revision: str = ""
    variant: str = ""
    offline: bool = False
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    vae_dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    vae_decode_dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    weights: dict[str, str] = {}
    loras: tuple[Lora, ...] = ()
    flow_shift: float | None = None

    offload: Literal["auto", "none", "text-encoder", "model", "group"] = "auto"
    headroom: Annotated[int, Meta(ge=0)] = 0
    vae_tiling: Literal["auto", "on", "off"] = "auto"
    prompt_cache: Annotated[int, Meta(ge=0)] = 512 * 2**20

    attention: AttentionKernel = "auto"
    attention_kernels: str = ""
    attention_revision: str = ""
    compile: bool | Literal["auto"] = "auto"
    compile_cache: str = ""
    warm_up: tuple[WarmUpSize, ...] = ()
    cache: Literal["off", "light", "strong", "none", "first-block", "taylorseer", "magcache"] = "off"
    cache_threshold: Share = 0.05
    cache_interval: Positive = 3
    quantize: Literal["none", "fp8", "int8", "fp8-weights", "int8-weights", "fp8-layerwise"] = "none"

    def __post_init__(self) -> None:
        if self.quantize == "none":
            return
        if (component := next((name for name in DENOISERS if is_gguf(self, name)), None)) is not None:
            raise ValueError(
                f"quantize is {self.quantize!r}, but weights.{component} is a .gguf file, whose weights are "
                "quantised already; leave quantize out, or name a .safetensors file"
            )


def is_gguf(options: Options, component: str) -> bool:
    """Return whether ``options`` load ``component`` from a ``.gguf`` file."""
    return options.weights.get(component, "").endswith(".gguf")
