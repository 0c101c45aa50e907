"""``herald check`` and ``herald plan``: what a config file says, before anything runs."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict

import click

from herald.cli import exit_code
from herald.errors import ConfigError
from herald.host.plan import Plan, load_plan

__all__ = ["check", "plan"]


@click.command()
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: str, as_json: bool) -> None:
    """List every mistake in FILE; nothing is run."""
    if not as_json:
        found = _load(file)
        counts = f"{_count(len(found.strategies), 'strategy', 'strategies')}, {_count(len(found.plugins), 'plugin', 'plugins')}"
        click.echo(f"{file}: no problems; {counts}")
        return
    try:
        found = _load(file)
    except ConfigError as error:
        problems = [asdict(problem) for problem in error.problems]
        click.echo(json.dumps({"file": file, "problems": problems, "plugins": []}, indent=2))
        raise click.exceptions.Exit(exit_code(error)) from error
    plugins = [f"{origin.plugin} [{origin}]" for origin in found.plugins]
    click.echo(json.dumps({"file": file, "problems": [], "plugins": plugins}, indent=2))


def _load(file: str) -> Plan:
    # What plugins print while they are imported must not end up in the middle of the answer.
    with redirect_stdout(sys.stderr):
        return load_plan(file)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


@click.command()
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan(file: str, as_json: bool) -> None:
    """Show what FILE would run: every component, its order and its settings."""
    found = _load(file)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else found.describe())
