"""What it costs to compare plugins with their lock before they are imported: `python benchmarks/trust.py`."""

from __future__ import annotations

import argparse
import time

from herald.host.discovery import discover
from herald.host.lock import Lock
from herald.host.trust import OWN, Trust, key_of, measure


def main() -> None:
    """Print how long a lock of everything that is installed takes, and how long every start pays for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    catalog = discover()
    found = list(catalog)
    own = next(one for one in found if one.distribution == OWN)
    begun = time.perf_counter()
    distributions = {key_of(one): one for one in found}
    lock = Lock.here([measure(one) for one in distributions.values()])
    files = sum(len(one.files) for one in lock.distributions)
    print(f"lock     {(time.perf_counter() - begun) * 1e3:.0f} ms for {len(distributions)} distributions with {files:,} files")
    costs = []
    for _ in range(options.rounds):
        begun = time.perf_counter()
        refused = Trust(lock, "plugins.lock", catalog).refused(found)
        costs.append(time.perf_counter() - begun)
        if refused:
            raise SystemExit(f"what was locked a moment ago is refused: {refused[0]}")
    print(f"check    {sorted(costs)[len(costs) // 2] * 1e3:.0f} ms at every start, for {len(found)} plugins")
    changed = Lock.here([one for one in lock.distributions if one.key != key_of(own)])
    told = Trust(changed, "plugins.lock", catalog).reason(own)
    if "it is not in plugins.lock" not in told:
        raise SystemExit("a plugin that is not in the lock is let through")
    print(f"refusal  {own.name!r}: {told}")


if __name__ == "__main__":
    main()
