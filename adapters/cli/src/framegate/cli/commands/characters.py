"""``framegate characters``."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click

from framegate.cli.app_context import open_services
from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import format_time, print_json, print_line, print_table
from framegate.core.character_service import CharacterService

Answer = TypeVar("Answer")


@click.group()
def characters() -> None:
    """List, show and delete characters: people (or things) of videos that prompts call by @username."""


def _call_service(
    config_file: Path | None,
    data_dir: Path | None,
    operation: Callable[[CharacterService], Awaitable[Answer]],
) -> Answer:
    context = context_from(config_file, data_dir)
    context.require_queue()

    async def call() -> Answer:
        async with open_services(context) as services:
            return await operation(services.core.characters)

    return asyncio.run(call())


@characters.command("list")
@json_option
@config_options
def list_characters(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """List characters, newest first."""
    found = _call_service(config_file, data_dir, lambda service: service.list())
    if as_json:
        print_json(found)
        return
    print_table(
        ("USERNAME", "NAME", "OWNER", "CREATED", "TEMPORARY"),
        [
            (
                f"@{character.username}",
                character.display_name,
                character.owner or "-",
                format_time(character.created_at),
                "yes" if character.temporary else "",
            )
            for character in found
        ],
        empty="No characters.",
    )


@characters.command()
@click.argument("username")
@json_option
@config_options
def show(username: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Show everything about one character."""
    found = _call_service(config_file, data_dir, lambda service: service.get(username.removeprefix("@")))
    if as_json:
        print_json(found)
        return
    frame = found.reference
    print_table(
        ("FIELD", "VALUE"),
        [
            ("username", f"@{found.username}"),
            ("name", found.display_name),
            ("owner", found.owner or "-"),
            ("created", format_time(found.created_at)),
            ("temporary", "yes" if found.temporary else "no"),
            ("avatar", found.avatar),
            ("reference", f"{frame.key}, {frame.width}×{frame.height}"),
        ],
        empty="",
    )


@characters.command()
@click.argument("username")
@json_option
@config_options
def delete(username: str, as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Delete a character and its images. Jobs that use it keep their own copies."""
    name = username.removeprefix("@")
    _call_service(config_file, data_dir, lambda service: service.delete(name))
    if as_json:
        print_json({"deleted": name})
    else:
        print_line(f"@{name} is deleted.")
