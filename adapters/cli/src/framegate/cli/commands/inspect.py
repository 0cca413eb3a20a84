"""List plugins and dialects."""

from pathlib import Path

import click

from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import print_json, print_line, print_table


@click.command()
@json_option
@config_options
def plugins(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """List the installed plugins, with the reason for each broken one."""
    statuses = context_from(config_file, data_dir).plugins.statuses
    if as_json:
        print_json(statuses)
        return
    print_table(
        ("PLUGIN", "DISTRIBUTION", "VERSION", "OFFERS", "MISSING"),
        [
            (
                status.name,
                status.distribution,
                status.version,
                f"broken: {status.error}"
                if status.error
                else "disabled"
                if status.disabled
                else ", ".join((*status.models, *status.dialects, *status.commands)),
                status.missing,
            )
            for status in statuses
        ],
        empty="No plugins.",
    )
    for status in statuses:
        for finding in status.health_findings:
            print_line(f"Note: {finding}", error=True)


@click.command()
@json_option
@config_options
def dialects(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """List the API dialects and where they are served."""
    context = context_from(config_file, data_dir)
    settings = context.settings.dialects
    rows = [
        {
            "name": spec.name,
            "enabled": settings.enabled is None or spec.name in settings.enabled,
            "prefix": str(settings.options.get(spec.name, {}).get("prefix", spec.prefix)) or "/",
            "summary": spec.summary,
        }
        for spec in context.plugins.dialects.values()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("DIALECT", "ENABLED", "PREFIX", "SUMMARY"),
        [(row["name"], "yes" if row["enabled"] else "no", row["prefix"], row["summary"]) for row in rows],
        empty="No dialects.",
    )
