from __future__ import annotations

from herald.live.tags import client_tag, is_client_tag


def test_a_tag_fits_into_any_comment_and_is_the_same_every_time() -> None:
    tag = client_tag("journal", "5012345", "trend-000017")

    assert tag == client_tag("journal", "5012345", "trend-000017")
    assert 18 == len(tag)
    assert set(tag) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_journal_account_and_order_all_count() -> None:
    tags = {client_tag(j, a, o) for j in ("x", "y") for a in ("1", "2") for o in ("t-1", "t-2")}

    assert 8 == len(tags)
    assert client_tag("ab", "c", "d") != client_tag("a", "bc", "d")


def test_many_orders_have_many_tags() -> None:
    assert 20_000 == len({client_tag("journal", "1", f"trend-{number:06d}") for number in range(20_000)})


def test_a_tag_is_known_as_one_and_a_spoilt_one_is_not() -> None:
    tags = [client_tag("journal", "1", f"trend-{number}") for number in range(500)]
    spoilt = [tag[:5] + ("a" if tag[5] != "a" else "b") + tag[6:] for tag in tags]

    assert all(map(is_client_tag, tags))
    assert sum(map(is_client_tag, spoilt)) <= 5
    assert not any(map(is_client_tag, ["", "sl 1.2345", "manual", tags[0] + "x", tags[0][:-1], "ä" * 18]))
