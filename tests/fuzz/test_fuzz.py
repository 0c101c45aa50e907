"""Every stored input, and a few mutants of each, through every parser; `python -m tests.fuzz.fuzz` looks for more."""

from __future__ import annotations

import random
import time
from itertools import islice

import pytest

from tests.fuzz.fuzz import CORPUS, mutants, seeds_of
from tests.fuzz.targets import SECONDS, TARGETS

MUTANTS = 300


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    assert sorted(TARGETS) == sorted(one.name for one in CORPUS.iterdir() if one.is_dir())
    assert [] == [name for name in TARGETS if not any((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_parser(name: str) -> None:
    seeds = seeds_of(name)
    for data in [*seeds, b"", *islice(mutants(seeds, random.Random(name)), MUTANTS)]:
        begun = time.perf_counter()
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"{name} is broken by {data!r}") from error
        assert time.perf_counter() - begun < 10 * SECONDS, data  # ten times, for a machine that is busy with other tests
