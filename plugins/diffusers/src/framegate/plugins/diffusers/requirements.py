"""What a worker needs in addition to this package, as data: nothing of it is imported to check."""

from importlib.util import find_spec

from framegate.core.errors import GenerationFailed

MODULES = frozenset({"torch", "diffusers", "transformers", "accelerate", "peft", "ftfy", "av", "PIL"})
"""The modules that every diffusers backend imports in `load`."""
INSTALL_SMALL = "install with: pip install 'framegate-diffusers[small]'"
"""The end of a message about a package that only quantised weights need."""

INSTALL_KERNELS = "install with: pip install 'framegate-diffusers[kernels]'"
"""The end of a message about the package that loads attention kernels from the hub."""


def install_command(plugin: str) -> str:
    """Return the command that installs everything a worker needs for ``plugin``."""
    return f"pip install 'framegate-{plugin}[torch]'"


def require(install: str, modules: frozenset[str] = MODULES) -> None:
    """Check that ``modules`` are installed.

    Raises:
        GenerationFailed: One is missing; the message names it, and ``install`` as the remedy.
    """
    if missing := sorted(module for module in modules if find_spec(module) is None):
        raise GenerationFailed(f"This worker lacks {', '.join(missing)}; install with: {install}")
