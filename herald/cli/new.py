"""``herald new``: the skeleton of a plugin package, with a test that passes."""

from __future__ import annotations

import json
import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from herald.errors import ConfigError, Problem
from herald.host.discovery import discover

__all__ = ["new"]

_FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "module.py.txt": "herald_${name}.py",
    "test_module.py.txt": "tests/test_${name}.py",
    "example.toml.txt": "example.toml",
}


@click.group()
def new() -> None:
    """Write the skeleton of a plugin."""


@new.command(short_help="Write a package with a strategy and its test.")
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=".", help="Where to put the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def strategy(name: str, out: Path, as_json: bool) -> None:
    """Write a package herald-NAME with a strategy, its test, and a config that runs it."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        what = f"{name!r} cannot name a plugin"
        raise ConfigError(
            "herald new strategy", [Problem("NAME", what, "use small letters, digits and _, beginning with a letter")]
        )
    dashed = name.replace("_", "-")
    taken = next((one for one in discover() if one.name == name and one.distribution != f"herald-{dashed}"), None)
    if taken is not None:
        what = f"{name!r} is the name of a plugin of {taken.origin} already"
        raise ConfigError("herald new strategy", [Problem("NAME", what, "choose another; two plugins of one name are refused")])
    folder = out / f"herald-{dashed}"
    if folder.exists():
        raise ConfigError("herald new strategy", [Problem(str(folder), "exists already", "choose another name or --out")])
    words = {"name": name, "dashed": dashed, "title": "".join(part.title() for part in name.split("_"))}
    templates = files("herald.cli") / "templates"
    written = []
    for source, target in _FILES.items():
        path = folder / Template(target).substitute(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = Template((templates / source).read_text(encoding="utf-8")).substitute(words)
        path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path.as_posix())
    if as_json:
        click.echo(json.dumps({"folder": folder.as_posix(), "files": written}, indent=2))
        return
    click.echo(f"wrote {folder}; next: pip install -e {folder}, then herald backtest {folder / 'example.toml'}")
