"""Attention kernels that are code from the hub, or from a folder."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName

from framegate.plugins.diffusers.loading import hub_kernels
from framegate.plugins.diffusers.loading.hub_kernels import KernelUnavailableError, load_hub_kernel
from framegate.plugins.diffusers.options import Options
from tests.support.stand_in_kernel import REPOSITORY, write_kernel

CUDA = torch.device("cuda")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FLASH_3_HUB = AttentionBackendName("_flash_3_hub")
dispatch: Any = attention_dispatch
FLASH_3: Any = dispatch._HUB_KERNELS_REGISTRY[FLASH_3_HUB]


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is loaded, before and after."""
    for kernel in dispatch._HUB_KERNELS_REGISTRY.values():
        for name in ("kernel_fn", "wrapped_forward_fn", "wrapped_backward_fn"):
            monkeypatch.setattr(kernel, name, None)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connections that are tried; each fails."""
    import httpx2

    tried: list[str] = []

    def send(client: object, request: httpx2.Request, **named: Any) -> httpx2.Response:
        tried.append(str(request.url))
        raise httpx2.ConnectError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(httpx2.Client, "send", send)
    return tried


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which version 1 of FlashAttention 3 was downloaded once."""
    repository = tmp_path / "cache" / f"kernels--{REPOSITORY.replace('/', '--')}"
    write_kernel(tmp_path / "written")
    snapshot = repository / "snapshots" / COMMIT
    snapshot.parent.mkdir(parents=True)
    (tmp_path / "written" / REPOSITORY).rename(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text(COMMIT)
    monkeypatch.setattr("kernels.resolver.CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_kernel_is_loaded_once_from_a_folder_without_the_hub(tmp_path: Path, hub: list[str]) -> None:
    options = Options(attention_kernels=str(write_kernel(tmp_path)))
    load_hub_kernel("_flash_3_hub", options, CUDA)
    loaded = FLASH_3.kernel_fn
    assert loaded.__name__ == "flash_attn_func"
    assert FLASH_3.wrapped_forward_fn.__name__ == "_flash_attn_forward"
    dispatch._maybe_download_kernel_for_backend(FLASH_3_HUB)
    load_hub_kernel("_flash_3_hub", Options(attention_kernels="/nowhere"), CUDA)
    assert FLASH_3.kernel_fn is loaded
    assert hub == []


@pytest.mark.usefixtures("cache")
def test_offline_a_downloaded_kernel_is_used_without_the_hub(hub: list[str]) -> None:
    load_hub_kernel("_flash_3_hub", Options(offline=True), CUDA)
    assert FLASH_3.kernel_fn is not None
    assert hub == []


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("revision", [COMMIT, "v1"])
def test_a_kernel_can_be_pinned_to_a_commit(revision: str) -> None:
    load_hub_kernel("_flash_3_hub", Options(offline=True, attention_revision=revision), CUDA)
    assert FLASH_3.kernel_fn is not None


def test_offline_a_missing_kernel_is_not_downloaded(tmp_path: Path, hub: list[str]) -> None:
    with pytest.raises(KernelUnavailableError, match=r"options\.offline is set"):
        load_hub_kernel("_flash_3_hub", Options(offline=True, attention_revision="f" * 40), CUDA)
    assert hub == []


def test_the_hub_is_asked_whether_the_publisher_is_trusted_before_a_download(hub: list[str]) -> None:
    with pytest.raises(KernelUnavailableError, match=r"flash-attn3 can't be downloaded"):
        load_hub_kernel("_flash_3_hub", Options(), CUDA)
    assert hub[-1].endswith("/api/organizations/kernels-community/overview")
    assert not any(REPOSITORY in url for url in hub)


@pytest.mark.parametrize("name", ["sage_hub", "sage_blackwell_hub"])
def test_no_kernel_of_another_publisher_is_downloaded(name: str, hub: list[str]) -> None:
    with pytest.raises(KernelUnavailableError, match=r"SageAttention/.* is not by kernels-community"):
        load_hub_kernel(name, Options(), CUDA)
    assert hub == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"code": "raise RuntimeError('no such symbol')"}, "no build that runs on this system"),
        ({"code": "pass"}, "no build that runs on this system"),
        ({"variant": "torch213-cxx11-cu128-x86_64-windows"}, "no build that runs on this system"),
        (
            {"kernel-depends": {"kernels-community/other": {"version": 1}}},
            r"needs other kernels|no build that runs",
        ),
    ],
)
def test_a_kernel_that_does_not_fit_says_so(
    tmp_path: Path, hub: list[str], changes: dict[str, Any], why: str
) -> None:
    options = Options(attention_kernels=str(write_kernel(tmp_path, **changes)))
    with pytest.raises(KernelUnavailableError, match=why) as refused:
        load_hub_kernel("_flash_3_hub", options, CUDA)
    assert str(tmp_path) not in str(refused.value)
    assert FLASH_3.kernel_fn is None
    assert hub == []


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None: ...

    monkeypatch.setattr(hub_kernels, "find_spec", nothing)
    with pytest.raises(KernelUnavailableError, match=r"pip install 'framegate-diffusers\[kernels\]'"):
        load_hub_kernel("_flash_3_hub", Options(), CUDA)


def test_other_backends_load_nothing(hub: list[str]) -> None:
    load_hub_kernel("native", Options(), CUDA)
    assert hub == []
