"""What pydantic finds, in the words and at the places of the file, one problem for each mistake."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field, SecretStr, ValidationError

from herald import Problem, Settings
from herald.host.problems import in_file_order, to_problems


class Step(Settings):
    zone: str
    until: int = 0


class Level(Settings):
    share: float = Field(le=1)


class Terms(Settings):
    zone: str | tuple[Step, ...] = "UTC"
    levels: tuple[Level, ...] = Field((Level(share=1),), min_length=1)
    size: float | None = None
    names: dict[str, int] = Field(default_factory=dict)
    key: SecretStr | tuple[SecretStr, ...] = SecretStr("")


def found(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Terms.model_validate(data)
    return [str(problem) for problem in to_problems(caught.value, data, "t", Terms, "terms", ["use"])]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"zome": "UTC"}, "t.zome: unknown key of terms; did you mean zone?"),
        ({"uze": "x"}, "t.uze: unknown key of terms; did you mean use?"),
        ({"zone": 5}, "t.zone: input should be a valid string or a valid list, not 5"),
        ({"zone": [5]}, "t.zone[0]: must be a table; write its keys below a [heading] or in { braces }"),
        ({"zone": [{}]}, "t.zone[0].zone: is missing; state it"),
        ({"zone": [{"zone": "UTC", "untill": 5}]}, "t.zone[0].untill: unknown key; did you mean until?"),
        ({"zone": [{"zone": "UTC"}, {"zone": 7}]}, "t.zone[1].zone: input should be a valid string, not 7"),
        ({"levels": [{"share": 5}]}, "t.levels[0].share: input should be less than or equal to 1, not 5"),
        ({"levels": []}, "t.levels: list should have at least 1 item after validation, not 0"),
        ({"levels": "x"}, "t.levels: must be a list; write it in [ brackets ]"),
        ({"size": "x"}, "t.size: input should be a valid number, unable to parse string as a number, not 'x'"),
        ({"names": {"a": "x"}}, "t.names.a: input should be a valid integer, unable to parse string as an integer, not 'x'"),
        ({"names": 5}, "t.names: must be a table; write its keys below a [heading] or in { braces }"),
        ({"key": 4711}, "t.key: input should be a valid string or a valid list"),
        ({"key": [4711]}, "t.key[0]: input should be a valid string"),
    ],
)
def test_mistake_is_one_problem_at_its_place_in_the_file(data: dict[str, Any], problem: str) -> None:
    assert [problem] == found(data)


def test_mistakes_of_one_table_are_all_told() -> None:
    assert {"t.size", "t.zone[0].zone", "t.levels[0].share"} == {
        line.split(":")[0] for line in found({"size": "x", "zone": [{}], "levels": [{"share": 2}]})
    }


def test_problems_stand_in_the_order_of_the_file() -> None:
    raw = {"b": {"y": 1, "x": [{}, {}]}, "a": {}}
    places = ["a.missing", "nowhere", "b.x[1].deep[_odd(), str]", "b.y", "b.x[0]", "b", "", "HERALD_B__Y"]

    ordered = in_file_order([Problem(place, "is wrong") for place in places], raw)

    assert ["b", "b.y", "b.x[0]", "b.x[1].deep[_odd(), str]", "a.missing"] == [problem.where for problem in ordered[:5]]
    assert {"nowhere", "", "HERALD_B__Y"} == {problem.where for problem in ordered[5:]}


def test_same_problem_is_told_once() -> None:
    assert 1 == len(in_file_order([Problem("a", "is wrong"), Problem("a", "is wrong")], {"a": 1}))
