"""What a worker needs beside this package, as data: nothing of it is imported to look."""

from importlib.util import find_spec

from framegate.core.errors import GenerationFailed

MODULES = frozenset({"torch", "diffusers", "transformers", "accelerate", "peft", "ftfy", "av", "PIL"})


def install_command(plugin: str) -> str:
    """What brings a plugin's worker all that it needs."""
    return f"pip install 'framegate-{plugin}[torch]'"


def require(install: str, modules: frozenset[str] = MODULES) -> None:
    """Raises:
    GenerationFailed: a module is missing; says which, and that ``install`` brings it.
    """
    if missing := sorted(module for module in modules if find_spec(module) is None):
        raise GenerationFailed(f"This worker lacks {', '.join(missing)}; install with: {install}")
