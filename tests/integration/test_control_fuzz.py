"""Requests that nobody thought of: made from the interface's own description, right and wrong ones, and every answer held against it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable

from tests.unit.plugins.control.world import World

SENT = frozenset({"authorization", "cookie", "host", "origin", "content-length", "transfer-encoding", "x-api-key", "connection"})
"""Headers whose meaning has tests of its own; what is made up for them would only be refused at the door."""


class Site:
    """A server in this process, its description, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder, requests_per_minute=10**9)
        self.key = self.world.key("admin")
        self.document: dict[str, Any] = self.world.ask("GET", "/api/v1/openapi.json", self.key).json()
        self.statuses: Counter[int] = Counter()

    def operations(self) -> list[Any]:
        made: Any = schemathesis.openapi.from_dict(self.document).get_all_operations()
        found = [one.ok() for one in made]
        return [one for one in found if one.path != "/api/v1/events"]  # it does not end

    def validator(self, schema: dict[str, Any]) -> Any:
        return jsonschema_rs.validator_for({**schema, "components": self.document["components"]})

    def try_all(self, examples: int) -> None:
        """Try *examples* right and as many wrong requests of every operation."""
        for operation in self.operations():
            for mode in schemathesis.GenerationMode:
                self._try(operation, mode, examples)

    def _try(self, operation: Any, mode: Any, examples: int) -> None:
        stated = self.document["paths"][operation.path][operation.method]["responses"]

        @seed(7)
        @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            told = case.as_transport_kwargs(base_url="")
            headers = {name: value for name, value in told["headers"].items() if name.lower() not in SENT and printable(value)}
            path = operation.path
            for name, value in (case.path_parameters or {}).items():
                path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
            options = {name: told[name] for name in ("params", "json") if told.get(name) is not None}
            if isinstance(told.get("data"), str | bytes):
                options["content"] = told["data"]
            response = self.world.ask(operation.method.upper(), path, self.key, headers=headers, **options)
            self.statuses[response.status_code] += 1
            place = f"{operation.method} {path} {options}: {response.status_code} {response.text[:300]}"
            assert response.status_code < 500, place
            # What has a slash in it, or nothing at all, is another path.
            if path.count("/") != operation.path.count("/") or response.status_code in (404, 405):
                return
            assert str(response.status_code) in stated, place
            content = stated[str(response.status_code)].get("content", {}).get("application/json")
            if content and "schema" in content:
                assert self.validator(content["schema"]).is_valid(response.json()), place

        try:
            check()
        except Unsatisfiable:
            if mode is schemathesis.GenerationMode.POSITIVE:  # what takes nothing cannot be given anything wrong
                raise


def printable(value: object) -> bool:
    return str(value).isascii() and str(value).isprintable()


@pytest.mark.parametrize(
    ("examples", "least"), [pytest.param(6, 250, id="some"), pytest.param(150, 10_000, id="many", marks=pytest.mark.long)]
)
def test_no_request_breaks_the_server_and_every_answer_is_as_described(tmp_path: Path, examples: int, least: int) -> None:
    site = Site(tmp_path)

    site.try_all(examples)

    assert sum(site.statuses.values()) >= least
    assert site.statuses[200] > 0
    assert site.statuses[422] > 0
