"""Layers and caches in a config: how they are found, printed, and refused where their order defeats them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from herald.errors import ConfigError
from herald.host.plan import load_plan

from .conftest import Install

Write = Callable[[str], Path]

CONFIG = """
    [connectors.main]
    use    = "synthetic"
    prices = {{ EURUSD = 1.1 }}
    {layers}

    [strategies.trend]
    use       = "mine"
    symbols   = ["EURUSD"]
    timeframe = "1h"
    {more}
"""


@pytest.fixture(autouse=True)
def mine(install: Install) -> None:
    install("mine")


def config(layers: Sequence[str], more: str = "") -> str:
    entries = ", ".join(one if one.startswith("{") else f'{{ use = "{one}" }}' for one in layers)
    return CONFIG.format(layers=f"middleware = [{entries}]", more=more)


def problems(path: Path, **options: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_plan(path, **options)
    return [str(problem) for problem in caught.value.problems]


ALL = ("cache", "health_monitor", '{ use = "retry", max_retries = 2 }', "circuit_breaker", "rate_limiter")


def test_the_onion_is_printed_in_the_order_of_the_file(write: Write) -> None:
    text = load_plan(write(config(ALL))).describe()

    assert "    cache > health_monitor > retry(max_retries=2) > circuit_breaker > rate_limiter > synthetic" in text.splitlines()


def test_layers_are_named_by_their_place_or_their_own_name(write: Write) -> None:
    plan = load_plan(write(config(["retry", '{ use = "circuit_breaker", name = "fuse" }'])))

    assert ["connectors.main.middleware[0]", "connectors.main.middleware.fuse"] == [one.name for one in plan.layers("main")]
    assert [{"use": "retry", "max_retries": 5}, {"use": "circuit_breaker", "name": "fuse"}] == [
        {key: entry[key] for key in ("use", "max_retries", "name") if key in entry}
        for entry in plan.to_dict()["connectors"]["main"]["middleware"]
    ]


def test_a_config_without_layers_loads_none(write: Write) -> None:
    plan = load_plan(write(CONFIG.format(layers="", more="")))

    assert () == plan.layers("main")
    assert {"mine", "synthetic"} == {origin.plugin for origin in plan.plugins}


def test_mistakes_in_layers_are_told_with_their_place(write: Write) -> None:
    found = problems(
        write(config(['{ use = "circuit_breaker", failure_treshold = 3 }', "retri", '{ use = "retry", max_retries = -1 }']))
    )

    assert [
        "connectors.main.middleware[0].failure_treshold: unknown key of circuit_breaker; did you mean failure_threshold?",
        "connectors.main.middleware[1].use: no middleware is called 'retri' and no plugin of that name is installed; "
        "did you mean retry?",
        "connectors.main.middleware[2].max_retries: input should be greater than or equal to 0, not -1",
    ] == found


@pytest.mark.parametrize(
    ("layers", "place", "words"),
    [
        (
            ["circuit_breaker", "retry"],
            1,
            "stands inside circuit_breaker: the breaker sees one failure where the broker was called several times, and opens "
            "late (retry-inside-breaker); list retry before circuit_breaker",
        ),
        (
            ["rate_limiter", "retry"],
            1,
            "stands inside rate_limiter: the limiter counts one call where the broker gets several, and its limit is broken "
            "(retry-inside-limiter); list retry before rate_limiter",
        ),
        (["retry", "retry"], 1, "is listed twice: the repetitions multiply (retry-twice); keep one"),
        (
            ["rate_limiter", "cache"],
            1,
            "stands inside rate_limiter: a kept answer costs a call of the limit (cache-inside-limiter); list cache before rate_limiter",
        ),
        (
            ["circuit_breaker", "cache"],
            1,
            "stands inside circuit_breaker: a kept answer is refused while the circuit is open (cache-inside-breaker); "
            "list cache before circuit_breaker",
        ),
        (
            ['{ use = "faults", script = "noisy" }', "retry"],
            0,
            "stands outside retry, which never sees its faults (faults-outside); list it last",
        ),
    ],
)
def test_an_order_that_defeats_the_layers_is_refused_with_the_reason(
    write: Write, layers: list[str], place: int, words: str
) -> None:
    assert [f"connectors.main.middleware[{place}]: {words}"] == problems(write(config(layers)))


def test_a_problem_of_order_can_be_accepted_by_its_name(write: Write) -> None:
    text = config(["circuit_breaker", "retry"]) + '\n    [plugins]\n    accept = ["retry-inside-breaker"]\n'

    assert ["circuit_breaker", "retry"] == [one.use for one in load_plan(write(text)).layers("main")]


def test_the_recommended_order_has_no_problem(write: Write) -> None:
    assert 6 == len(load_plan(write(config([*ALL, '{ use = "faults", script = "noisy" }']))).layers("main"))


def test_a_layer_that_names_no_cache_of_the_file_is_told(write: Write) -> None:
    plan = load_plan(write(config(['{ use = "cache", store = "shared" }']) + '\n    [caches.shared]\n    use = "cache.memory"\n'))

    assert ["shared"] == list(plan.caches)
    assert "cache shared = cache.memory [herald-trading" in plan.describe()
    assert {"use": "cache.memory", "max_size": 10_000} == plan.to_dict()["caches"]["shared"]


def test_a_middleware_list_must_be_a_list_of_tables(write: Write) -> None:
    assert ['connectors.main.middleware: must be a list of tables; write middleware = [{ use = "..." }]'] == problems(
        write(CONFIG.format(layers='middleware = "retry"', more=""))
    )
