"""Wheels made by hand, good and hostile, and folders in which they are installed."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

PLUGIN = '''
"""Hold what was bought."""
from pathlib import Path

{canary}
from herald import Settings, Strategy, component, hookimpl
{more}

class NothingToSet(Settings):
    pass


class Holder(Strategy[NothingToSet]):
    pass


@hookimpl
def herald_strategies():
    yield component("{plugin}", NothingToSet, Holder, "Does nothing.")
'''


def source(plugin: str, canary: Path | None = None, more: str = "") -> str:
    """Return the module of a plugin; with *canary* it leaves a file there the moment it is imported."""
    line = "" if canary is None else f"Path({str(canary)!r}).write_text('imported', encoding='utf-8')"
    return PLUGIN.format(plugin=plugin, canary=line, more=more)


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str], plugins: dict[str, str]) -> Path:
    """Write the wheel of a distribution with *files* and the entry points *plugins*, and return its path."""
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    entries = "".join(f"{plugin} = {module}\n" for plugin, module in plugins.items())
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[herald.v1]\n{entries}",
    }
    content[f"{info}/RECORD"] = record_of(content) + f"{info}/RECORD,,\n"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def record_of(content: dict[str, str]) -> str:
    """Return the lines of RECORD for *content*."""
    lines = []
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text.encode())}\n")
    return "".join(lines)


def install(wheel: Path, site: Path) -> None:
    """Unpack *wheel* into *site*, which is what installing a pure wheel amounts to."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
