"""Redaction: a secret that was loaded is found in whatever form it got into a text, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald.utils import redaction
from herald.utils.redaction import (
    MASK,
    RedactingStream,
    is_secret_name,
    protect,
    redact,
    redact_packed,
    redact_values,
)

SECRET = "pä$$ w/rd+'\"<&>\\7"
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64": lambda one: base64.b64encode(one.encode()).decode(),
    "base64 for URLs": lambda one: base64.urlsafe_b64encode(one.encode()).decode(),
    "base64 behind a user's name": lambda one: base64.b64encode(b"trader:" + one.encode() + b"\n").decode(),
    "hexadecimal": lambda one: one.encode().hex(),
    "percent": lambda one: quote(one, safe=""),
    "percent in small letters": lambda one: re.sub("%..", lambda found: found[0].lower(), quote(one, safe="")),
    "percent with slashes": quote,
    "percent of a form": quote_plus,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda one: json.dumps(one, ensure_ascii=False),
    "JSON inside JSON": lambda one: json.dumps(json.dumps({"password": one})),
    "HTML": html.escape,
    "a literal of Python": repr,
    "bytes of Python": lambda one: repr(one.encode()),
    "ASCII": ascii,
    "one escape upon the other": lambda one: repr(json.dumps(html.escape(repr(one)))),
    "percent upon percent": lambda one: quote(quote(one)),
    "HTML upon HTML": lambda one: html.escape(html.escape(one)),
    "base64 in a URL": lambda one: quote(base64.b64encode(one.encode()).decode(), safe=""),
    "in XML": lambda one: "".join(f"&#{ord(each)};" if not each.isalnum() else each for each in one),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    protect(SECRET)

    text = f"before {FORMS[form](SECRET)} after"
    told = redact(text)

    assert MASK in told
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert "w/rd" not in told
    assert "w%2" not in told.lower()


@given(before=st.binary(max_size=7), secret=st.binary(min_size=6, max_size=40), after=st.binary(max_size=7))
def test_base64_is_found_at_every_offset(before: bytes, secret: bytes, after: bytes) -> None:
    text = secret.decode("latin-1")
    known = redaction._forms
    try:
        redaction._forms = ()
        protect(text)

        told = redact(base64.b64encode(before + text.encode() + after).decode())
    finally:
        redaction._forms = known

    assert MASK in told
    # What is left of it are the characters that it shares with its neighbours: fewer than six bits at either end.
    assert len(told.replace(MASK, "")) <= (len(before) + len(after)) * 4 / 3 + 6


def test_without_a_secret_the_text_itself_comes_back() -> None:
    text = "nothing to hide"

    assert redact(text) is text


def test_a_packed_value_is_read_and_only_its_texts_are_changed() -> None:
    protect("12345678")
    value = {"size": 12345678, "reason": "bad login 12345678", "price": float("inf"), "raw": b"12345678"}
    other = msgspec.msgpack.encode({"reason": "12345679"})

    told = msgspec.msgpack.decode(redact_packed(msgspec.msgpack.encode(value)))

    assert value | {"reason": f"bad login {MASK}"} == told
    assert redact_packed(other) is other


@given(st.text(min_size=6, max_size=30), st.text(max_size=10), st.text(max_size=10))
def test_any_text_is_found_as_it_is_and_behind_escapes(secret: str, before: str, after: str) -> None:
    known = redaction._forms
    try:
        redaction._forms = ()
        protect(secret)
        told = [redact(form(f"{before}{secret}{after}")) for form in (str, repr, json.dumps, ascii, html.escape)]
    finally:
        redaction._forms = known

    assert all(MASK in one for one in told)


def test_many_secrets_cost_a_log_line_little() -> None:
    for number in range(50):
        protect(f"x/{number:03d}-correct-horse-battery")
    line = "2024-01-01T00:00:00Z OrderDenied order=trend-000001 symbol=EURUSD size=0.1 reason=nothing that is known here " * 2

    began = time.perf_counter()
    for _ in range(200):
        redact(line)

    assert (time.perf_counter() - began) / 200 < 0.002


def test_backslashes_without_end_take_no_time() -> None:
    protect("ab\\\"'\\\"'\\zz")
    began = time.perf_counter()

    redact("ab" + "\\" * 20_000)

    assert time.perf_counter() - began < 2


def test_what_is_too_short_to_be_told_from_other_text_is_left_alone() -> None:
    protect("12345")

    assert "at 1.12345" == redact("at 1.12345")


def test_a_longer_secret_is_replaced_whole_where_a_shorter_one_is_part_of_it() -> None:
    protect("horse-battery")
    protect("correct-horse-battery-staple")

    assert f"{MASK} and {MASK}" == redact("correct-horse-battery-staple and horse-battery")


def test_lines_of_a_key_are_found_one_by_one_and_when_they_were_joined() -> None:
    protect("-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\nq83vEjRWeJq83vEjRWeJ\n-----END KEY-----\n")

    told = redact('File "x.py": MC4CAQAwBQYDK2VwBCIEIA | -----BEGIN KEY----- MC4CAQAwBQYDK2VwBCIEIA q83vEjRWeJq83vEjRWeJ')

    assert "MC4C" not in told
    assert "q83v" not in told


def test_values_keep_their_shape_and_numbers_stay_numbers() -> None:
    protect("12345678")
    value = {"cash": 12345678, "why": ["bad login 12345678"], "12345678": (1.5, None), "bot_token": "other", "token": ""}

    told = redact_values(value)

    assert {"cash": 12345678, "why": [f"bad login {MASK}"], MASK: (1.5, None), "bot_token": MASK, "token": ""} == told


@pytest.mark.parametrize("name", ["password", "mt5_password", "api_key", "APIKEY", "x-secret", "bot.token", "Authorization"])
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["key_file", "passphrase_file", "lock_key", "tokens_per_second", "secrets", "symbol", "credential"]
)
def test_names_that_only_sound_like_it_are_not(name: str) -> None:
    assert not is_secret_name(name)


def test_a_stream_passes_no_secret_on_and_is_a_stream_otherwise() -> None:
    protect("correct-horse-battery")
    inner = io.StringIO()
    stream = RedactingStream(inner)

    assert len("it is correct-horse-battery") == stream.write("it is correct-horse-battery")
    print("said", "correct-horse-battery", file=stream)  # type: ignore[call-overload]
    stream.writelines(["correct-horse-battery\n"])
    stream.flush()

    assert f"it is {MASK}said {MASK}\n{MASK}\n" == inner.getvalue()
    assert not stream.isatty()


def test_on_windows_a_stream_has_no_buffer_past_which_click_could_write(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = RedactingStream(io.TextIOWrapper(io.BytesIO()))
    assert stream.buffer is not None

    monkeypatch.setattr(os, "name", "nt")

    assert not hasattr(stream, "buffer")
