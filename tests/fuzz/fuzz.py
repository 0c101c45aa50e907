"""Look for inputs that break a parser: `python -m tests.fuzz.fuzz [TARGET ...] --seconds 600`.

With atheris (`pip install atheris`; Linux) the search follows the coverage of Herald's own code. Without it, inputs of
the corpus are mutated blindly. A finding is kept in the corpus, where every later test run tries it again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).with_name("corpus")
_LONGEST = 20_000
_WORDS = (
    b"",
    b"\0",
    b"\n",
    b'"',
    b"[",
    b"{",
    b"}",
    b"=",
    b",",
    b"-1",
    b"9" * 30,
    b"1e999",
    b"nan",
    b"\xff\xfe",
    "é".encode(),
    b"true",
)


def mutants(seeds: list[bytes], draw: random.Random) -> Iterator[bytes]:
    """Yield inputs that are nearly those of *seeds*."""
    while True:
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 6)):
            place = draw.randint(0, len(data))
            match draw.randrange(5):
                case 0:
                    data[place:place] = draw.choice(_WORDS)
                case 1:
                    del data[place : place + draw.randint(1, 20)]
                case 2 if data:
                    data[place % len(data)] ^= 1 << draw.randrange(8)
                case 3:
                    other = draw.choice(seeds)
                    start = draw.randint(0, len(other))
                    data[place:place] = other[start : start + draw.randint(1, 50)]
                case _:
                    data[place : place + 8] = draw.randbytes(draw.randint(0, 8))
        yield bytes(data[:_LONGEST])


def seeds_of(name: str) -> list[bytes]:
    """Return the stored inputs of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())] or [b""]


def keep(name: str, data: bytes, why: str) -> Path:
    """Store an input that broke a target."""
    path = CORPUS / name / f"{why}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path


def watched(name: str, target: Callable[[bytes], None], seconds: float) -> Callable[[bytes], None]:
    """Return *target*, which keeps what breaks it or takes longer than *seconds*."""

    def run(data: bytes) -> None:
        begun = time.process_time()  # of this process: others that keep the machine busy are no finding
        try:
            target(data)
        except Exception:
            print(f"{name}: broken by {keep(name, data, 'crash')}", flush=True)
            raise
        if time.process_time() - begun > seconds:
            raise TimeoutError(f"{name}: took {time.process_time() - begun:.1f} s for {keep(name, data, 'hang')}")

    return run


def blind(name: str, seconds: float, seed: int) -> int:
    """Mutate for *seconds*; return how many inputs were tried."""
    from tests.fuzz.targets import SECONDS, TARGETS

    run, draw = watched(name, TARGETS[name], SECONDS), random.Random(seed)
    end, count = time.perf_counter() + seconds, 0
    for data in mutants(seeds_of(name), draw):
        run(data)
        count += 1
        if time.perf_counter() > end:
            break
    return count


def guided(name: str, seconds: float) -> None:
    """Let atheris search; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["herald"], enable_loader_override=False):
        from tests.fuzz.targets import SECONDS, TARGETS
    words = [sys.argv[0], f"-max_total_time={round(seconds)}", f"-max_len={_LONGEST}", "-timeout=10", "-print_final_stats=1"]
    found = Path(os.environ.get("FUZZ_FOUND", tempfile.gettempdir())) / f"fuzz-{name}"  # new inputs are not worth keeping
    found.mkdir(exist_ok=True)
    atheris.Setup([*words, f"-artifact_prefix={found}/", str(found), str(CORPUS / name)], watched(name, TARGETS[name], SECONDS))
    atheris.Fuzz()


def main() -> None:
    """Fuzz the targets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="see tests/fuzz/targets.py; all unless given")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blind", action="store_true", help="do not use atheris")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        guided(options.one, options.seconds)  # before anything of Herald is imported: it is instrumented as it is
        return
    from tests.fuzz.targets import TARGETS

    has_atheris = False
    if not options.blind:
        with contextlib.suppress(ImportError):
            import atheris  # noqa: F401

            has_atheris = True
    failed = []
    for name in options.targets or TARGETS:
        if has_atheris:
            command = [sys.executable, "-m", "tests.fuzz.fuzz", "--one", name, "--seconds", str(options.seconds)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False)
            runs = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
            good = done.returncode == 0
            told = runs[0].split()[-1] + " inputs" if runs else ""
            print(f"{name}: {'nothing found' if good else 'FOUND'}, {told}, guided, {options.seconds:g} s", flush=True)
            if not good:
                print(done.stdout[-2_000:] + done.stderr[-3_000:], flush=True)
                failed.append(name)
            continue
        try:
            count = blind(name, options.seconds, options.seed)
            print(f"{name}: nothing found, {count} inputs, blind, {options.seconds:g} s", flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    if failed:
        raise SystemExit(f"found: {', '.join(failed)}")


if __name__ == "__main__":
    main()
