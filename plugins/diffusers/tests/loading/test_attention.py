"""Which attention kernel is used."""

import pytest

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.loading.attention import fastest_cuda_backend
from tests.support.tiny_models import AnyWanBackend, LoadTiny

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_an_unknown_attention_backend_is_refused(load_wan: LoadTiny[AnyWanBackend]) -> None:
    with pytest.raises(GenerationFailed, match=r"unknown backend 'flush'; available: .*native"):
        load_wan("wan21_t2v", attention="flush")
