"""Named places to die at: exactly there, exactly then, and not at all without the variable."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from herald.errors import ConfigError
from herald.live.crashpoints import CRASH_AT, POINTS, crash_point

SCRIPT = f"""
import sys
from herald.live.crashpoints import crash_point
here, there = crash_point({"after_intent"!r}), crash_point({"after_reply"!r})
for number in range(5):
    there()
    here()
    print(number, flush=True)
"""


def test_without_the_variable_every_point_is_the_same_function_that_does_nothing() -> None:
    found = {crash_point(name, {}) for name in POINTS}

    assert 1 == len(found)
    assert None is found.pop()()


def test_only_the_point_that_is_named_is_armed() -> None:
    nothing = crash_point("after_intent", {})

    armed = [name for name in POINTS if crash_point(name, {CRASH_AT: "mid_fill:1"}) is not nothing]

    assert ["mid_fill"] == armed


def test_it_dies_at_the_passing_that_is_named(clean_env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=clean_env | {CRASH_AT: "after_intent:3"}, capture_output=True, text=True, check=False
    )

    assert ["0", "1"] == done.stdout.split()
    assert (-9 if os.name == "posix" else 15) == done.returncode


@pytest.mark.parametrize("value", ["nowhere:1", "after_intent", "after_intent:", "after_intent:0", "after_intent:x", ":1"])
def test_a_variable_that_names_nothing_is_refused_and_the_points_are_listed(value: str) -> None:
    with pytest.raises(ConfigError, match=rf"HERALD_CRASH_AT.*'{value}' names no point and passing.*after_intent"):
        crash_point("mid_fill", {CRASH_AT: value})


def test_a_point_that_does_not_exist_is_a_mistake_of_the_code() -> None:
    with pytest.raises(KeyError):
        crash_point("nowhere", {})
