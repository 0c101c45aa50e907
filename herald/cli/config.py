"""``herald config``: the resolved config, and a JSON Schema for editors."""

from __future__ import annotations

import json
from typing import Any

import click

from herald.errors import PluginError
from herald.host.discovery import discover
from herald.host.plan import load_plan
from herald.host.registry import HOST_WORDS, Registry
from herald.host.tables import HeraldConfig

__all__ = ["config", "schema_of"]

_TABLES = {
    "connector": "connectors",
    "cache": "caches",
    "strategy": "strategies",
    "risk": "risk",
    "exit": "exits",
    "observer": "observers",
    "secret source": "secrets",
}

_REQUIRED = {"strategy": ("symbols", "timeframe")}

_TEXTS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_WORDS: dict[str, dict[str, Any]] = {
    "use": {"type": "string"},
    "encrypted": {"type": "string", "description": "Name of the secret that holds the other keys of this table, in TOML."},
    "name": {"type": "string", "description": "Name of this entry, instead of its number."},
    "format": {"type": "string", "description": "Data format of the files, where it cannot be told from them."},
    "poll_seconds": {"type": "number", "exclusiveMinimum": 0, "default": 0.25, "description": "Between two polls."},
    "account_seconds": {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 5.0,
        "description": "Between two questions for the account.",
    },
    "middleware": {
        "type": "array",
        "items": {"$ref": "#/$defs/use.middleware"},
        "description": "Layers around it, outermost first.",
    },
    "connector": {"type": "string", "description": "Table of its connector; may be left out where there is one."},
    "symbols": {**_TEXTS, "description": "What it trades."},
    "timeframe": {"anyOf": [{"type": "string"}, _TEXTS], "description": "Its series, such as 1h; the first is the base."},
    "enabled": {"type": "boolean", "default": True, "description": "Whether it takes part."},
    "exits": {"type": "array", "items": {"$ref": "#/$defs/use.exit"}, "description": "Its exits, instead of the global ones."},
    "risk": {"type": "array", "items": {"$ref": "#/$defs/use.risk"}, "description": "Its checks, after the global ones."},
    "sizing": {"$ref": "#/$defs/use.sizer", "description": "Sizes its requests that state no size."},
}
"""Schema of the keys that are Herald's own in a component's table; see `HOST_WORDS`."""


@click.group()
def config() -> None:
    """Show a config, or its JSON Schema."""


@config.command(short_help="Print a config as it is understood.")
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, hidden=True, help="Print JSON, as without it.")
def show(file: str, as_json: bool) -> None:
    """Print FILE as it is understood, in JSON: environment applied, defaults filled in, secrets hidden."""
    click.echo(json.dumps(load_plan(file).to_dict(), indent=2))


@config.command(short_help="Print the JSON Schema of a config file.")
@click.option("--plugins/--no-plugins", default=True, help="Describe the settings of every installed component too.")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="Print JSON, as without it.")
def schema(plugins: bool, as_json: bool) -> None:
    """Print the JSON Schema of a config file, for editors that check TOML."""
    click.echo(json.dumps(schema_of(plugins=plugins), indent=2))


def schema_of(*, plugins: bool) -> dict[str, Any]:
    """Return the JSON Schema of a config file; with *plugins*, ``use`` selects the settings of a component."""
    document = HeraldConfig.model_json_schema()
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "Herald configuration"
    if not plugins:
        return document
    registry = Registry(discover())
    for found in discover():
        try:
            registry.load(found.name)
        except PluginError as error:
            click.echo(f"herald: left out: {error}", err=True)
    definitions = document.setdefault("$defs", {})
    for kind in (*_TABLES, "sizer", "middleware"):
        definitions[f"use.{kind.replace(' ', '_')}"] = _entry(kind, registry, definitions)
    definitions["use.journal"] = _entry("journal", registry, definitions)
    document["properties"]["journal"] = {"$ref": "#/$defs/use.journal"}
    for kind, table in _TABLES.items():
        place = document["properties"][table]
        where = "items" if place.get("type") == "array" else "additionalProperties"
        place[where] = {"$ref": f"#/$defs/use.{kind.replace(' ', '_')}"}
    return document


def _entry(kind: str, registry: Registry, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one table with ``use``: Herald's own keys, and those of the component that it names."""
    names = [one.full_name for one in registry.of_kind(kind)]
    choices = []
    for one in registry.of_kind(kind):
        settings = one.component.settings.model_json_schema(ref_template=f"#/$defs/{one.full_name}.{{model}}")
        for name, definition in settings.pop("$defs", {}).items():
            definitions[f"{one.full_name}.{name}"] = definition
        # Herald's own keys stand beside the component's, so the component alone cannot forbid the others.
        settings.pop("additionalProperties", None)
        settings["description"] = one.component.summary
        chosen = {"properties": {"use": {"const": one.full_name}}, "required": ["use"]}
        required = settings.pop("required", [])
        choices.append({"if": chosen, "then": settings})
        if required:  # unless it may stand in the encrypted part
            choices.append({"if": chosen | {"not": {"required": ["encrypted"]}}, "then": {"required": required}})
    own = {word: _WORDS[word] for word in sorted(HOST_WORDS[kind])}
    own["use"] = {"type": "string", "description": f"Which {kind} it is.", "examples": names}
    return {"type": "object", "required": ["use", *_REQUIRED.get(kind, ())], "properties": own, "allOf": choices}
