"""``framegate models``: list them, and have workers load and unload them."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import click
from click.core import ParameterSource
from msgspec.structs import asdict

from framegate.cli.commands.pull import pull
from framegate.cli.commands.workers import call_operations
from framegate.cli.model_memory import print_memory
from framegate.cli.options import (
    Target,
    complete_model,
    config_options,
    context_from,
    json_option,
    server_options,
)
from framegate.cli.output import print_block, print_json, print_line
from framegate.cli.servers.opening import run_on_remote
from framegate.cli.servers.views import DefaultsView, ModelView
from framegate.core.models import Defaults, FrameRule, SizeRule
from framegate.core.operation_service import DeviceState, ModelOnWorker, ModelStatus
from framegate.core.registry import ServedModel

Group = TypeVar("Group", bound=Hashable)
_SHOWN = 40
"""Characters of a negative prompt that are shown to people; programs get all of them."""


@click.group(invoke_without_command=True)
@click.option("--memory", is_flag=True, help="Print what the models of this host need of a GPU's memory.")
@click.option(
    "--gpu-memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GB",
    help="The GPU's memory for --memory (default: this host's first GPU).",
)
@json_option
@server_options
@click.pass_context
def models(
    context: click.Context, memory: bool, gpu_memory: float | None, as_json: bool, target: Target
) -> None:
    """List the served models and the names by which clients know them, or load and unload them."""
    if context.invoked_subcommand is not None:
        if context.get_parameter_source("url") == ParameterSource.COMMANDLINE:
            raise click.UsageError(
                "--url is for listing models; load and unload them with its POST /admin/models."
            )
        for option in ("memory", "gpu_memory"):
            if context.get_parameter_source(option) == ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    f"--{option.replace('_', '-')} is for listing models, and not for "
                    f"{context.invoked_subcommand}."
                )
        given = {"as_json": as_json, "config_file": target.config_file, "data_dir": target.data_dir}
        context.default_map = {
            context.invoked_subcommand: {name: value for name, value in given.items() if value}
        }
        return
    if memory or gpu_memory:
        if context.get_parameter_source("url") == ParameterSource.COMMANDLINE:
            raise click.UsageError("--memory is about the models of this host, not of --url.")
        registry = context_from(target.config_file, target.data_dir).registry
        print_memory(registry.specs.values(), gpu_memory, as_json=as_json)
        return
    if target.url:
        found = run_on_remote(target, lambda server: server.list_models())
    else:
        names = context_from(target.config_file, target.data_dir).registry.names
        found = [_view(served) for served in names.values()]
    if as_json:
        print_json([model.document for model in found])
        return
    if not found:
        print_line("No models.")
    for number, (served_by, of_model) in enumerate(_grouped(found, lambda model: model.served_by)):
        if number:
            print_line("")
        own = next((model for model in of_model if model.name == served_by), of_model[0])
        print_block(served_by, [*_describe(own), *_names(of_model)])


@models.command()
@click.argument("name", shell_complete=complete_model)
@json_option
@config_options
def load(name: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Let all workers that serve the model NAME load it, now or after the job that they run.

    Workers that start later load it too, until it is unloaded. An alias stands for the model that serves it.
    """
    _print_requested(
        call_operations(config_file, data_dir, lambda operations: operations.load_model(name)), as_json
    )


@models.command()
@click.argument("name", shell_complete=complete_model)
@json_option
@config_options
def unload(name: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Let all workers unload the model NAME once they run no job of it; its next job loads it again."""
    _print_requested(
        call_operations(config_file, data_dir, lambda operations: operations.unload_model(name)), as_json
    )


models.add_command(pull)


def _print_requested(status: ModelStatus, as_json: bool) -> None:
    if as_json:
        print_json(status)
        return
    for on_worker in status.on_workers:
        print_line(f"{on_worker.worker}: {_sentence(status.id, on_worker)}")
    if not status.on_workers:
        print_line(f"No live worker serves {status.id}.")


def _sentence(model: str, on_worker: ModelOnWorker) -> str:
    if on_worker.pending is not None:
        return f"{on_worker.pending}s {model} as soon as it runs no job."
    match on_worker.state:
        case DeviceState.UNLOADED:
            return f"{model} is not loaded."
        case DeviceState.LOADING:
            return f"{model} is being loaded."
        case DeviceState.LOADED:
            return f"{model} is loaded."
        case DeviceState.FAILED:
            return f"{model} could not be loaded: {on_worker.reason}"
        case DeviceState.UNKNOWN:
            return f"runs an earlier version, which loads {model} with its first job and keeps it."


def _view(served: ServedModel) -> ModelView:
    spec = served.spec
    return ModelView(
        name=served.name,
        served_by=spec.id,
        backend=spec.backend,
        tasks=tuple(sorted(spec.tasks)),
        sizes=spec.sizes,
        frames=spec.frames,
        fps=spec.fps,
        defaults=DefaultsView(**asdict(spec.defaults)),
        plan=served.plan,
        catalogue=served.catalogue,
        license=spec.license,
        document={
            "name": served.name,
            "served_by": spec.id,
            "backend": spec.backend,
            "tasks": sorted(spec.tasks),
            "defaults": spec.defaults,
            "sizes": spec.sizes,
            "frames": spec.frames,
            "fps": spec.fps,
            "plan": served.plan,
            **({"license": spec.license} if spec.license else {}),
        },
    )


def _describe(model: ModelView) -> Iterable[tuple[str, str]]:
    yield "backend", model.backend or "-"
    yield "tasks", ", ".join(model.tasks)
    default = model.defaults
    size = f"; {default.width}×{default.height} by default" if default.width and default.height else ""
    yield "sizes", f"{_sizes(model.sizes)}{size}"
    if any(task.endswith("video") for task in model.tasks):
        yield "frames", _frames(model.frames)
    if defaults := ", ".join(_defaults(default)):
        yield "defaults", defaults
    if model.license:
        yield "license", model.license
    if model.ready is not None:
        yield "ready", "yes" if model.ready else "no: no worker serves it now"


def _defaults(default: Defaults) -> Iterable[str]:
    if default.num_inference_steps is not None:
        yield f"{default.num_inference_steps} steps"
    if default.guidance_scale is not None:
        yield f"guidance {default.guidance_scale:g}"
    if text := default.negative_prompt:
        yield f"negative prompt {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"


def _sizes(rule: SizeRule) -> str:
    if rule.only:
        return " or ".join(f"{width}×{height}" for width, height in rule.only)
    limits = f"sides of {rule.min_side} to {rule.max_side}, up to {rule.max_pixels / 1e6:.1f} megapixels"
    return f"multiples of {rule.multiple_of}, {limits}"


def _frames(rule: FrameRule) -> str:
    return f"{rule}, {rule.min} to {rule.max} a shot"


def _names(models: Sequence[ModelView]) -> Iterable[tuple[str, str]]:
    """Yield the names of a model by the dialects whose clients know them, then those of the config."""
    others = [model for model in models if model.name != model.served_by]
    for (catalogue, plan), of_catalogue in _grouped(others, lambda model: (model.catalogue, model.plan)):
        names = ", ".join(model.name for model in of_catalogue)
        yield catalogue or "aliases", f"with the plan {plan}: {names}" if plan else names


def _grouped(
    models: Sequence[ModelView], key: Callable[[ModelView], Group]
) -> Iterable[tuple[Group, list[ModelView]]]:
    """Return the models that have a key in common, in the order in which the keys come first."""
    groups: dict[Group, list[ModelView]] = {}
    for model in models:
        groups.setdefault(key(model), []).append(model)
    return groups.items()
