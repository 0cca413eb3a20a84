"""Which attention kernel is used."""

from typing import get_args

import pytest
from diffusers.models.attention_dispatch import AttentionBackendName

from framegate.core.errors import ConfigError
from framegate.core.options import parse_table
from framegate.plugins.diffusers.loading.attention import fastest_cuda_backend
from framegate.plugins.diffusers.options import AttentionKernel, Options


@pytest.mark.parametrize(
    ("capability", "flash_3", "backend"),
    [
        ((9, 0), True, "_flash_3"),
        ((9, 0), False, "_native_cudnn"),
        ((10, 0), True, "_native_cudnn"),
        ((8, 9), False, "native"),
    ],
)
def test_the_attention_kernel_goes_with_the_card(
    capability: tuple[int, int], flash_3: bool, backend: str
) -> None:
    assert fastest_cuda_backend(capability, cudnn=True, flash_3=flash_3)[0] == backend


def test_an_unknown_attention_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match=r'attention: "flush" is not .*; did you mean flash\?'):
        parse_table("options", {"attention": "flush"}, Options)


def test_the_options_name_every_backend_of_diffusers() -> None:
    assert {"auto", *(name.value for name in AttentionBackendName)} == set(get_args(AttentionKernel))
