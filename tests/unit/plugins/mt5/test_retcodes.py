"""Answers of the trade server: success is a closed set, and what nobody knows is in doubt."""

from __future__ import annotations

from herald.plugins.mt5.retcodes import RETCODES, explain, is_requote, is_success, is_unknown, name_of


def test_every_number_is_in_one_class_at_most_and_success_is_closed() -> None:
    every = range(-20_000, 20_000)

    assert [10008, 10009, 10010] == [code for code in every if is_success(code)]
    assert [10004, 10020, 10021] == [code for code in every if is_requote(code)]
    assert {10011, 10012} == {code for code in RETCODES if is_unknown(code, 0)}
    assert all(is_unknown(code, 0) for code in every if code not in RETCODES)
    assert not [code for code in every if is_success(code) + is_requote(code) + is_unknown(code, 1) > 1]


def test_a_lost_connection_leaves_only_an_order_with_a_ticket_in_doubt() -> None:
    assert not is_unknown(10031, 0)
    assert is_unknown(10031, 5)


def test_names_are_different_and_an_unknown_code_keeps_its_number() -> None:
    assert len(RETCODES) == len({one.name for one in RETCODES.values()})
    assert "retcode_10999" == name_of(10999)
    assert "10999 (odd): a code that Herald does not know" in explain(10999, "odd")
