"""``framegate doctor``."""

import logging
from importlib.util import find_spec
from pathlib import Path

import click

from framegate.cli.config_checks import check_config
from framegate.cli.doctor.findings import Finding, warn
from framegate.cli.doctor.host import check_host, check_port
from framegate.cli.doctor.models import check_models, check_plugins
from framegate.cli.doctor.queue import check_queue, check_storage
from framegate.cli.log import configure_logging
from framegate.cli.options import config_from, config_options, json_option
from framegate.cli.output import print_json, print_line


@click.command()
@json_option
@config_options
def doctor(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Report what is installed, what works, and how to fix the rest. Fails if something is wrong."""
    if not logging.getLogger().handlers:
        configure_logging(level=logging.WARNING)
    has_server = find_spec("framegate.server") is not None
    context, found = check_config(config_from(config_file, data_dir), as_server=has_server)
    findings = [
        *(Finding("config", ok=False, detail=error.message) for error in found.errors),
        *(warn("config", warning.message) for warning in found.warnings),
        *check_host(context.settings),
        *([check_port(context.settings)] if has_server else []),
        check_storage(context),
        *check_queue(context),
        *check_plugins(context),
        *check_models(context),
    ]
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            print_line(f" {finding.subject}: {finding.detail}", mark=_mark(finding))
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)


def _mark(finding: Finding) -> str:
    if not finding.ok:
        return click.style("FAIL", fg="red")
    return click.style("warn", fg="yellow") if finding.warning else click.style("ok  ", fg="green")
