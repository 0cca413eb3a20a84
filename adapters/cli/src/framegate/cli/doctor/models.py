"""The plugins, and whether this host could run their models."""

import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from framegate.cli.app_context import AppContext
from framegate.cli.doctor.findings import Finding, check
from framegate.core.errors import PluginError
from framegate.core.hub_cache import cached_snapshot, is_hub_id
from framegate.core.models import ModelSpec
from framegate.core.plugins import PluginStatus, create_backend, load_object, missing_files, missing_for


def check_plugins(context: AppContext) -> list[Finding]:
    """Return which plugins take part, and what keeps their models from working."""
    findings = context.plugins.health_findings(check_network=True)
    return [
        *map(_plugin, context.plugins.statuses),
        *(Finding("plugins", ok=False, detail=finding) for finding in findings),
    ]


def check_models(context: AppContext) -> list[Finding]:
    """Return whether the code and the files of each model are there.

    Files are not looked for where no worker can run.
    """
    runs_workers = find_spec("framegate.worker") is not None
    found: list[Finding] = []
    for spec in context.registry.specs.values():
        subject = f"model {spec.id}"
        missing = missing_files(spec) if runs_workers else []
        found += [Finding(subject, ok=False, detail=f"{each}.") for each in missing]
        if not missing:
            found.append(check(subject, partial(_backend, spec)))
    return found


def _plugin(status: PluginStatus) -> Finding:
    if status.disabled:
        return Finding(f"plugin {status.name}", ok=True, detail="disabled by [plugins] disabled")
    return Finding(f"plugin {status.name}", not status.error, status.error or status.version)


def _backend(spec: ModelSpec) -> str:
    if missing := missing_for(spec):
        raise PluginError(missing)
    load_object(spec.backend)
    return f"{spec.backend} can be imported{_source(spec.source)}{_memory(spec)}"


def _memory(spec: ModelSpec) -> str:
    """Return what the model would take of a GPU that is large enough, "" if that can't be known."""
    try:
        plan = create_backend(spec).plan_memory(sys.maxsize)
    except Exception:  # files that are missing or wrong are found by other checks
        return ""
    if plan is None:
        return ""
    return f"; takes up to {plan.peak / 2**30:.0f} GiB of a GPU for {plan.size} (framegate models --memory)"


def _source(source: str) -> str:
    if not source:
        return ""
    if not is_hub_id(source):
        return f"; {source} is there" if Path(source).expanduser().exists() else ""
    if cached_snapshot(source):
        return f"; {source} is in the hub cache"
    return f"; {source} will be downloaded from the hub for its first job"
