"""``herald check`` and ``herald plan``: what a config file says, before anything runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import Any

import click

from herald.cli import exit_code
from herald.errors import ConfigError
from herald.host.plan import Plan, load_plan
from herald.host.secrets import keeper_of, wanted

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
    """Show what FILE would run: every component, its order and its settings, and which source has each secret."""
    found = _load(file)
    with redirect_stdout(sys.stderr):
        answers = list(_answers(found))
    if as_json:
        click.echo(json.dumps(found.to_dict() | {"answers": answers}, indent=2))
        return
    click.echo(found.describe())
    for one in answers:
        says = one["answers"] or f"no source has it: {', '.join(one['asked']) or 'there is none to ask'}"
        click.echo(f"secret   {one['secret']}, for {', '.join(one['for'])}: {says}")


def _answers(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield which source has each secret that *plan* needs; where none does, which were asked. No value is in it."""
    keeper = keeper_of(plan.source, plan.secrets, plan.base)
    for (name, among), places in wanted(plan).items():
        asked: list[str] = []
        answering = None
        for source, says in keeper.survey(name, among):
            asked.append(f"{source}: {says}" if isinstance(says, str) else source)
            if says is True:
                answering = source
                break
        yield {"secret": name, "for": places, "answers": answering, "asked": asked}
