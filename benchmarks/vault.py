"""What a vault costs: opening it with a pass-phrase, reading from it, changing it: `python benchmarks/vault.py`."""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
from pathlib import Path

from herald.utils.vault import Vault, VaultKey

MOST_UNLOCK, MOST_READS = 1.0, 0.005
"""Seconds: to open a vault, and to read a hundred secrets afterwards."""


def main() -> None:
    """Print the figures, with those that are to be held; exit code 1 where one is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder unless given")
    options = parser.parse_args()
    phrase, count = secrets.token_hex(16), options.secrets
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        path = Path(name, "vault")
        Vault.create(path, VaultKey.from_passphrase(phrase)).update({f"s{one}": secrets.token_hex(32) for one in range(count)})
        unlocks, reads, sets = [], [], []
        for _ in range(5):
            begun = time.perf_counter()
            vault = Vault(path, VaultKey.from_passphrase(phrase))  # a new key: nothing is remembered
            unlocks.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            for one in range(100):
                vault.get(f"s{one % count}")
            reads.append(time.perf_counter() - begun)
        for number in range(50):
            begun = time.perf_counter()
            vault.set("s0", f"value {number}")
            sets.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        vault.add_key(VaultKey.from_bytes(secrets.token_bytes(32)))
        vault.retire_keys()
        rotation = time.perf_counter() - begun
        size = path.stat().st_size
    unlock, read = sorted(unlocks)[2], sorted(reads)[2]
    print(
        f"unlock    {unlock * 1e3:.0f} ms with scrypt N=2^17 r=8 p=1, {count} secrets, {size:,} bytes (goal: {MOST_UNLOCK * 1e3:.0f})"
    )
    print(f"100 reads {read * 1e3:.2f} ms (goal: {MOST_READS * 1e3:.0f})")
    print(f"set       {sorted(sets)[25] * 1e3:.2f} ms, on disk before it returns")
    print(f"new key   {rotation * 1e3:.1f} ms to a key file, values not written anew")
    if unlock > MOST_UNLOCK or read > MOST_READS:
        raise SystemExit("a goal is not held on this machine")


if __name__ == "__main__":
    main()
