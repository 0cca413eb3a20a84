"""Attention kernels from the Hugging Face hub, or from a folder: code that runs in the worker."""

from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import structlog
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName

from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.requirements import INSTALL_KERNELS

PUBLISHER = "kernels-community"
"""The only publisher whose kernels are downloaded: the hub's own maintainers build them in the open."""
_dispatch: Any = attention_dispatch  # what is needed of it has underscores
log = structlog.get_logger(__name__)


class KernelUnavailableError(RuntimeError):
    """A kernel may not, or can't, be loaded."""


def load_hub_kernel(name: str, options: Options, device: torch.device) -> None:
    """Load the kernel of diffusers' attention backend ``name``, if it is one from the hub.

    A process loads each kernel once, for the first model that asks for it.

    Raises:
        KernelUnavailableError: It isn't trusted, isn't there, or wasn't built for this system.
    """
    kernel = _dispatch._HUB_KERNELS_REGISTRY.get(AttentionBackendName(name))
    if kernel is None or kernel.kernel_fn is not None:
        return
    if find_spec("kernels") is None:
        raise KernelUnavailableError(f"it needs the package kernels on this worker; {INSTALL_KERNELS}")
    if device.type != "cuda" and not options.attention_kernels:
        raise KernelUnavailableError(f"kernels are downloaded for CUDA only, and the device is {device.type}")
    try:
        module = _load(kernel.repo_id, kernel.version, options)
        functions = {
            "kernel_fn": _attribute(module, kernel.function_attr),
            "wrapped_forward_fn": _attribute(module, kernel.wrapped_forward_attr),
            "wrapped_backward_fn": _attribute(module, kernel.wrapped_backward_attr),
        }
    except KernelUnavailableError:
        raise
    except Exception as error:  # the kernel's own code, which may raise anything, runs in there
        raise KernelUnavailableError(_why(kernel.repo_id, options, error)) from error
    # Where diffusers keeps them; it downloads only what is missing, asking the hub about trust each time.
    for attribute, function in functions.items():
        setattr(kernel, attribute, function)


def _load(repository: str, version: int, options: Options) -> ModuleType:
    import kernels  # pyright: ignore[reportMissingTypeStubs] # ships no types

    hub: Any = kernels
    if options.attention_kernels:
        folder = Path(options.attention_kernels).expanduser() / repository
        if not folder.is_dir():
            raise KernelUnavailableError(f"options.attention_kernels has no folder {repository}")
        log.info("kernel_loading", kernel=repository, source="options.attention_kernels")
    elif not repository.startswith(f"{PUBLISHER}/"):
        raise KernelUnavailableError(
            f"{repository} is not by {PUBLISHER}, whose kernels alone are downloaded; put it in a folder and "
            "name that as options.attention_kernels if you trust it"
        )
    else:
        # A version is the branch v1, v2, …; by its name the cache finds it without the hub, too.
        revision = options.attention_revision or f"v{version}"
        log.info("kernel_loading", kernel=repository, revision=revision, source="hub")
        folder = hub.install_kernel(repository, revision=revision, local_files_only=options.offline)
    for metadata in folder.rglob("metadata.json"):
        if hub.Metadata.read_from_file(metadata).kernel_depends:
            raise KernelUnavailableError(f"{repository} needs other kernels, which are not downloaded for it")
    module: ModuleType = hub.get_local_kernel(folder)
    return module


def _attribute(module: ModuleType, path: str | None) -> Any:
    """Return the member of ``module`` at the dotted ``path``, None without a path."""
    return None if path is None else attrgetter(path)(module)


def _why(repository: str, options: Options, error: Exception) -> str:
    kind = type(error).__name__
    if options.attention_kernels:
        return f"{repository} in options.attention_kernels has no build that runs on this system ({kind})"
    if options.offline:
        return (
            f"{repository} is not on this worker, or not for this system, and options.offline is set ({kind})"
        )
    return f"{repository} can't be downloaded, or has no build for this system ({kind})"
