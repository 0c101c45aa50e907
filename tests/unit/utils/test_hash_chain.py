"""Links of a chain: the published construction, and what each covers."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald.utils.hash_chain import HashChain


@given(st.binary(min_size=16, max_size=200), st.binary(max_size=300))
def test_a_keyed_chain_is_hmac_sha256(key: bytes, data: bytes) -> None:
    assert hmac.digest(key, data, "sha256") == HashChain.keyed(key).start(data)


def test_a_published_case_of_hmac() -> None:
    # RFC 4231, test case 3: the key is 20 times 0xaa, the data 50 times 0xdd.
    expected = "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"

    assert expected == HashChain.keyed(b"\xaa" * 20).start(b"\xdd" * 50).hex()


def test_a_plain_chain_is_blake2b_with_its_person() -> None:
    expected = hashlib.blake2b(b"before" + (7).to_bytes(8, "big") + b"body", digest_size=16, person=b"who").digest()

    assert expected == HashChain.plain(b"who").link(b"before", 7, b"body")


def test_a_link_covers_the_one_before_it_the_number_and_the_body() -> None:
    chain = HashChain.keyed(b"k" * 32)
    links = {chain.link(before, number, body) for before in (b"a", b"b") for number in (1, 2) for body in (b"x", b"y")}

    assert 8 == len(links)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="the key has 15 bytes; use 32"):
        HashChain.keyed(b"k" * 15)
