"""``framegate characters``."""

import click

from framegate.cli.options import Target, json_option, server_options
from framegate.cli.output import format_time, print_json, print_line, print_table
from framegate.cli.servers.opening import run_on_server


@click.group()
def characters() -> None:
    """List, show and delete characters: people (or things) of videos that prompts call by @username."""


@characters.command("list")
@json_option
@server_options
def list_characters(as_json: bool, target: Target) -> None:
    """List characters, newest first."""
    found = run_on_server(target, lambda server: server.list_characters())
    if as_json:
        print_json([character.document for character in found])
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
@server_options
def show(username: str, as_json: bool, target: Target) -> None:
    """Show everything about one character."""
    name = username.removeprefix("@")
    found = run_on_server(target, lambda server: server.get_character(name))
    if as_json:
        print_json(found.document)
        return
    print_table(
        ("FIELD", "VALUE"),
        [
            ("username", f"@{found.username}"),
            ("name", found.display_name),
            ("owner", found.owner or "-"),
            ("created", format_time(found.created_at)),
            ("temporary", "yes" if found.temporary else "no"),
            *found.details,
        ],
        empty="",
    )


@characters.command()
@click.argument("username")
@json_option
@server_options
def delete(username: str, as_json: bool, target: Target) -> None:
    """Delete a character and its images. Jobs that use it keep their own copies."""
    name = username.removeprefix("@")
    run_on_server(target, lambda server: server.delete_character(name))
    if as_json:
        print_json({"deleted": name})
    else:
        print_line(f"@{name} is deleted.")
