"""``herald plugins``: what is installed, what it offers, and whether it loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, time

import click

from herald.cli import check_verb, exit_code
from herald.cli.trust import lock, make_key, trust, verify
from herald.errors import NotFound, PluginError
from herald.host.discovery import Catalog, discover, discover_commands

__all__ = ["plugins"]


@click.group()
def plugins() -> None:
    """List, show, check and lock plugins."""


for _verb in (make_key, lock, trust, verify):
    plugins.add_command(_verb)


def _discovered() -> Catalog:
    """Return the catalog, after saying which distributions could not be read."""
    catalog = discover()
    for name in catalog.unreadable:
        click.echo(f"herald: the entry points of {name} cannot be read; install it again", err=True)
    return catalog


def _rows(catalog: Catalog) -> list[dict[str, object]]:
    return [
        {"name": one.name, "distribution": one.distribution, "version": one.version, "api": one.api, "module": one.value}
        for one in catalog
    ]


@plugins.command("list", short_help="List every installed plugin.")
@click.option("--load", is_flag=True, help="Import each and list what it offers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(load: bool, as_json: bool) -> None:
    """List every installed plugin, from metadata; nothing is imported unless asked for."""
    catalog = _discovered()
    rows = _rows(catalog)
    if load:
        from herald.host.registry import Registry

        registry = Registry(catalog)
        for row in rows:
            try:
                registry.load(str(row["name"]))
            except PluginError as error:
                row["error"] = str(error)
        for row in rows:
            row["offers"] = [
                f"{kind} {one.full_name}"
                for kind in _kinds()
                for one in registry.of_kind(kind)
                if one.origin.plugin == row["name"]
            ] + [f"profile {full}" for full in registry.profiles if full.partition(".")[0] == row["name"]]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("plugin", "distribution", "version", "api", *(("offers",) if load else ("module",))):
        table.add_column(heading, overflow="fold")
    for row in rows:
        offers = row.get("error") or "\n".join(map(str, row["offers"])) if load else row["module"]  # type: ignore[call-overload]
        cells = (*(str(row[key]) for key in ("name", "distribution", "version", "api")), str(offers))
        table.add_row(*map(escape, cells))  # what a stranger wrote is text, not markup
    Console().print(table)


def _kinds() -> list[str]:
    from herald.host.hookspecs import COLLECTED

    return list(COLLECTED.values())


@plugins.command(short_help="Show the components of a plugin.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the components of plugin NAME and their settings."""
    from herald.host.registry import Registry

    catalog = discover()
    if name not in catalog:
        raise NotFound(_unknown(catalog, name))
    registry = Registry(catalog)
    registry.load(name)
    found = [one for kind in _kinds() for one in registry.of_kind(kind) if one.origin.plugin == name]
    if as_json:
        rows = [
            {
                "name": one.full_name,
                "kind": one.kind,
                "summary": one.component.summary,
                "settings": one.component.settings.model_json_schema(),
            }
            for one in found
        ]
        profiles = [
            {"name": full, "summary": profile.summary, "checks": [{"use": use, **terms} for use, terms in profile.checks]}
            for full, profile in registry.profiles.items()
        ]
        document = {"plugin": name, "distribution": str(registry.origins[0]), "components": rows, "profiles": profiles}
        click.echo(json.dumps(document, indent=2))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    console.print(f"[bold]{escape(name)}[/bold]  {escape(str(registry.origins[0]))}", highlight=False)
    for one in found:
        console.print(f"\n[bold]{one.full_name}[/bold] ({one.kind})  {escape(one.component.summary)}", highlight=False)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading in ("  key", "default", "meaning"):
            table.add_column(heading, overflow="fold")
        for key, field in one.component.settings.model_fields.items():
            default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
            table.add_row(f"  {key}", escape(default), escape(" ".join((field.description or "").split())))
        if table.row_count:
            console.print(table)
    for full, profile in registry.profiles.items():
        console.print(f"\n[bold]{full}[/bold] (risk profile)  {escape(profile.summary)}", highlight=False)
        for use, terms in profile.checks:
            console.print(escape(f"  {use}({', '.join(f'{key}={value}' for key, value in terms.items())})"), highlight=False)


def _shown(value: object) -> str:
    """Return a default as a config file would state it, where that is shorter than as Python does."""
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def _unknown(catalog: Catalog, name: str) -> str:
    try:
        catalog.find(name)
    except PluginError as error:
        return str(error)
    return name


@plugins.command(short_help="Import plugins and check them.")
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Import plugins (all, or NAMES) and check them against the rules of their hooks."""
    from herald.host.registry import Registry

    catalog = _discovered()
    failures: dict[str, str | None] = {}
    for name in names or dict.fromkeys(one.name for one in catalog):
        if name not in catalog:
            raise NotFound(_unknown(catalog, name))
        failures[name] = _failure(Registry(catalog).load, name)
    if not names:
        verbs = discover_commands()
        for verb in dict.fromkeys(one.name for one in verbs):
            failures[f"verb {verb}"] = _failure(check_verb, verbs, verb)
    if as_json:
        click.echo(json.dumps(failures, indent=2))
    else:
        for name, failure in failures.items():
            click.echo(f"{name}: {failure or 'ok'}")
    if any(failures.values()):
        raise click.exceptions.Exit(exit_code(PluginError()))


def _failure(act: Callable[..., object], *arguments: object) -> str | None:
    try:
        act(*arguments)
    except PluginError as error:
        return str(error)
    return None
