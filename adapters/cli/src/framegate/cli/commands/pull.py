"""``framegate models pull``."""

import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import click
from msgspec import Struct

from framegate.cli.options import complete_model, config_options, context_from, json_option
from framegate.cli.output import print_json, print_line
from framegate.core.backend import HubDownload
from framegate.core.errors import ConfigError
from framegate.core.models import ModelSpec
from framegate.core.plugins import create_backend
from framegate.core.printable import printable


class Pulled(Struct, frozen=True):
    """A repository that a model needs, as it is in the cache now."""

    model: str
    setting: str
    repository: str
    commit: str
    folder: str
    files: int
    bytes: int
    downloaded_bytes: int


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete_model)
@json_option
@config_options
def pull(names: Sequence[str], as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Download what models need from the hub to this host: weights, LoRAs, an upsampler.

    What is there already is checked, and not downloaded again; an interrupted download continues where it
    ended. Private repositories need the variable HF_TOKEN.
    """
    registry = context_from(config_file, data_dir).registry
    pulled: list[Pulled] = []
    for spec in {served.spec.id: served.spec for served in map(registry.resolve, names)}.values():
        needed = _downloads_of(spec)
        if needed:
            pulled += _pull(spec.id, needed, hidden=as_json or not sys.stderr.isatty())
        elif not as_json:
            where = f"its source is {spec.source}" if spec.source else "it has no source"
            print_line(f"{spec.id}: there is nothing to pull; {where}.")
    if as_json:
        print_json(pulled)
        return
    for each in pulled:
        how = (
            f"{each.downloaded_bytes / 1e6:,.1f} MB downloaded"
            if each.downloaded_bytes
            else "nothing was missing"
        )
        print_line(f"{each.model}: {each.setting} {each.repository}: {each.files} files, {how}.")


def _downloads_of(spec: ModelSpec) -> Sequence[HubDownload]:
    return create_backend(spec).hub_downloads()


def _pull(model: str, needed: Sequence[HubDownload], *, hidden: bool) -> list[Pulled]:
    if find_spec("huggingface_hub") is None:
        raise ConfigError(
            "`framegate models pull` needs the package huggingface-hub: pip install huggingface-hub."
        )
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from framegate.cli.hub.repositories import Repository, require_space

    repositories = [Repository(each) for each in needed]
    require_space(repositories)
    pulled: list[Pulled] = []
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=32),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=hidden) as progress:
        for repository in repositories:
            needs = repository.needed
            task = progress.add_task(printable(needs.repository), total=repository.size)
            folder, received = repository.pull(partial(progress.advance, task))
            pulled.append(
                Pulled(
                    model=model,
                    setting=needs.setting,
                    repository=needs.repository,
                    commit=repository.commit,
                    folder=str(folder),
                    files=repository.count,
                    bytes=repository.size,
                    downloaded_bytes=received,
                )
            )
    return pulled
