"""The trading state: what stops, what lifts a stop, what cannot be believed, and the one-use permission."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herald.clock import WallClock
from herald.errors import HeraldError, PermitError, WaitTimeout
from herald.live._files import FileLock, write_sealed
from herald.live.state import (
    ACCOUNT,
    FLAG_NAMES,
    STATE_NAME,
    Change,
    StateFile,
    Token,
    TokenOffice,
    Trading,
    TradingState,
    scope_of,
)
from herald.model import OrderRequest, Side
from herald.testing import FakeClock

ACTIVE, REDUCING, HALTED = TradingState.ACTIVE, TradingState.REDUCING, TradingState.HALTED


def request(strategy: str = "trend", symbol: str = "EURUSD", *, reduce_only: bool = False, size: float = 0.1) -> OrderRequest:
    return OrderRequest(
        id=f"{strategy}-000001", strategy=strategy, symbol=symbol, side=Side.BUY, size=size, reduce_only=reduce_only
    )


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def state(tmp_path: Path, clock: FakeClock) -> StateFile:
    return StateFile(tmp_path / "state", clock)


def another(state: StateFile, clock: FakeClock) -> StateFile:
    """Return what another process would see."""
    return StateFile(state.folder, clock)


# --- stopping and going on


def test_no_file_is_active_at_generation_zero_and_reading_makes_none(state: StateFile) -> None:
    trading = state.read()

    assert (0, {}, (), "") == (trading.generation, trading.scopes, trading.history, trading.trouble)
    assert trading.effective("trend", "EURUSD") is ACTIVE
    assert not state.folder.exists()


def test_every_change_has_a_larger_generation(state: StateFile) -> None:
    generations = [
        state.set("strategy:trend", REDUCING, "risk", "three losses"),
        state.set("strategy:trend", HALTED, "risk", "four losses"),
        state.resume("strategy:trend", "me", "looked at it"),
        state.set(ACCOUNT, HALTED, "me", "going home"),
    ]

    assert [1, 2, 3, 4] == generations
    assert state.generation == 4


@pytest.mark.parametrize(
    ("scope", "stopped", "free"),
    [
        (ACCOUNT, [("trend", "EURUSD"), ("other", "USDJPY")], []),
        ("strategy:trend", [("trend", "EURUSD"), ("trend", "USDJPY")], [("other", "EURUSD")]),
        ("symbol:EURUSD", [("trend", "EURUSD"), ("other", "EURUSD")], [("trend", "USDJPY")]),
    ],
)
def test_a_scope_stops_what_is_in_it_and_nothing_else(
    state: StateFile, scope: str, stopped: list[tuple[str, str]], free: list[tuple[str, str]]
) -> None:
    state.set(scope, HALTED, "me", "because")

    assert [HALTED] * len(stopped) == [state.effective(*one) for one in stopped]
    assert [ACTIVE] * len(free) == [state.effective(*one) for one in free]


def test_the_strictest_of_the_three_holds(state: StateFile) -> None:
    state.set(ACCOUNT, REDUCING, "me", "a")
    state.set("symbol:EURUSD", HALTED, "me", "b")

    assert [HALTED, REDUCING] == [state.effective("trend", "EURUSD"), state.effective("trend", "USDJPY")]


def test_reducing_lets_only_reductions_pass(state: StateFile) -> None:
    state.set(ACCOUNT, REDUCING, "me", "news at eight")

    denial = state.read().denial(request())

    assert denial is not None
    assert ("state_reducing", "account is REDUCING since 2024-01-01T00:00:00Z by me: news at eight") == (denial.code, denial.text)
    assert state.read().denial(request(reduce_only=True)) is None


@pytest.mark.parametrize(("options", "is_let"), [({}, False), ({"exits": True}, True), ({"flatten": True}, True)])
def test_halted_lets_reductions_pass_only_where_the_halt_says_so(
    state: StateFile, options: dict[str, bool], is_let: bool
) -> None:
    state.set(ACCOUNT, HALTED, "me", "enough", **options)

    trading = state.read()

    denial = trading.denial(request())
    assert denial is not None
    assert denial.code == "state_halted"
    assert is_let == (trading.denial(request(reduce_only=True)) is None)


def test_a_halt_of_one_scope_is_not_softened_by_the_exits_of_another(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", exits=True)
    state.set("strategy:trend", HALTED, "me", "b")

    assert state.read().denial(request(reduce_only=True)) is not None


def test_a_looser_state_is_not_set_and_the_stop_stays(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a")

    assert state.set(ACCOUNT, REDUCING, "reconciliation", "mismatch") == 1
    assert state.effective("trend", "EURUSD") is HALTED


def test_the_same_stop_again_writes_nothing(state: StateFile) -> None:
    generations = [state.set(ACCOUNT, HALTED, "loss limit", f"lost {n} %", cancel_all=True) for n in (5, 6, 7)]

    assert [1, 1, 1] == generations
    assert [1] == [one.generation for one in state.read().history]


def test_a_halt_can_be_made_stricter_and_never_forgets_what_was_asked(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", cancel_all=True, exits=True)
    state.set(ACCOUNT, HALTED, "me", "b")

    (change,) = state.read().scopes.values()
    assert (True, False, False, "b") == (change.cancel_all, change.flatten, change.exits, change.why)


def test_a_stricter_halt_keeps_the_closings_that_were_asked_for(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", flatten=True, exits=True)
    state.set(ACCOUNT, HALTED, "me", "b")

    assert [("b", True)] == [(one.why, one.flatten) for one in state.read().pending()]


def test_exits_that_were_forbidden_stay_so(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a")
    state.set(ACCOUNT, HALTED, "me", "b", cancel_all=True, exits=True)

    assert state.read().denial(request(reduce_only=True)) is not None


def test_a_stricter_halt_does_not_ask_again_for_what_is_done(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", cancel_all=True, exits=True)
    state.mark_done(state.read().pending()[0], "run", "cancelled")
    state.set(ACCOUNT, HALTED, "me", "b")

    assert () == state.read().pending()


def test_flatten_includes_the_cancels_and_is_pending_until_it_is_done(state: StateFile) -> None:
    state.set("strategy:trend", HALTED, "me", "out", flatten=True)
    (asked,) = state.read().pending()

    state.mark_done(asked, "run", "closed 2 positions")

    assert asked.cancel_all
    assert () == state.read().pending()
    (holds,) = state.read().scopes.values()
    assert ("me", "out", True) == (holds.who, holds.why, holds.done)
    assert [("me", "out"), ("run", "closed 2 positions")] == [(one.who, one.why) for one in state.read().history]


def test_what_is_done_can_be_asked_for_again(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", cancel_all=True)
    state.mark_done(state.read().pending()[0], "run", "all but one")

    assert state.set(ACCOUNT, HALTED, "me", "one is left", cancel_all=True) == 3
    assert ["one is left"] == [one.why for one in state.read().pending()]


def test_a_demand_that_was_replaced_is_not_marked_done(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", cancel_all=True)
    (old,) = state.read().pending()
    state.set(ACCOUNT, HALTED, "me", "b", flatten=True)

    assert state.mark_done(old, "run", "cancelled") == 2
    assert ["b"] == [one.why for one in state.read().pending()]


def test_resume_lifts_one_scope_wholly_or_to_reducing(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a")
    state.set("symbol:EURUSD", REDUCING, "me", "b")

    state.resume(ACCOUNT, "me", "found the fault", REDUCING)
    account = state.effective("trend", "USDJPY")
    state.resume(ACCOUNT, "me", "watched it for an hour")

    assert [REDUCING, ACTIVE, REDUCING] == [account, state.effective("trend", "USDJPY"), state.effective("trend", "EURUSD")]


def test_a_halt_that_lets_exits_through_is_told_to_the_gate_as_reducing(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", flatten=True)
    flattening = state.trading.passing("trend", "EURUSD")
    state.set("symbol:EURUSD", HALTED, "me", "b")

    assert [REDUCING, HALTED, REDUCING] == [flattening, *(state.trading.passing("trend", one) for one in ("EURUSD", "USDJPY"))]


def test_a_stop_survives_the_process(state: StateFile, clock: FakeClock) -> None:
    state.set("strategy:trend", HALTED, "me", "a")

    assert another(state, clock).read() == state.read()
    assert another(state, clock).effective("trend", "EURUSD") is HALTED


def test_the_last_hundred_changes_are_kept(state: StateFile) -> None:
    for number in range(120):
        state.set("symbol:EURUSD", REDUCING, "me", f"on {number}")
        state.resume("symbol:EURUSD", "me", f"off {number}")

    history = state.read().history
    assert (100, "on 70", "off 119") == (len(history), history[0].why, history[-1].why)
    assert list(range(141, 241)) == [one.generation for one in history]
    assert history[-3:] == state.read().since(237)


@pytest.mark.parametrize("why", ["", "  \n"])
def test_a_change_without_a_reason_is_refused(state: StateFile, why: str) -> None:
    with pytest.raises(ValueError, match="why must not be empty"):
        state.set(ACCOUNT, HALTED, "me", why)
    with pytest.raises(ValueError, match="why must not be empty"):
        state.resume(ACCOUNT, "me", why)
    with pytest.raises(ValueError, match="who must not be empty"):
        state.set(ACCOUNT, HALTED, why, "because")

    assert not state.path.exists()


@pytest.mark.parametrize("scope", ["", "accounts", "strategy:", "symbol", "order:1"])
def test_a_scope_that_is_none_is_refused(state: StateFile, scope: str) -> None:
    with pytest.raises(ValueError, match=f"not {scope!r}"):
        state.set(scope, HALTED, "me", "because")


def test_set_does_not_loosen_and_resume_does_not_stop(state: StateFile) -> None:
    with pytest.raises(ValueError, match=r"'ACTIVE' is no stop; call resume\(\)"):
        state.set(ACCOUNT, ACTIVE, "me", "because")
    with pytest.raises(ValueError, match=r"'HALTED' is no way back; call set\(\)"):
        state.resume(ACCOUNT, "me", "because", HALTED)
    with pytest.raises(ValueError, match="go with HALTED"):
        state.set(ACCOUNT, REDUCING, "me", "because", flatten=True)


def test_scope_of_names_one_scope() -> None:
    assert ["account", "strategy:a", "symbol:b"] == [scope_of(), scope_of(strategy="a"), scope_of(symbol="b")]
    with pytest.raises(ValueError, match="two scopes"):
        scope_of("a", "b")


# --- the mirror


def test_a_change_by_another_process_is_noticed_by_the_next_check(state: StateFile, tmp_path: Path) -> None:
    code = (
        "import sys; from herald.clock import WallClock; from herald.live.state import StateFile, TradingState\n"
        "StateFile(sys.argv[1], WallClock()).set('account', TradingState.HALTED, 'another', 'stop it')"
    )
    before = state.check()

    subprocess.run([sys.executable, "-c", code, str(state.folder)], check=True)

    assert state.changed(before)
    assert state.effective("trend", "EURUSD") is HALTED


def test_any_two_of_many_quick_changes_are_told_apart(state: StateFile, clock: FakeClock) -> None:
    # All files get one time of modification, as they do within one tick of the disk's clock.
    writer, seen = another(state, clock), []
    for number in range(20):
        writer.set("symbol:EURUSD", REDUCING, "me", f"{number}") if number % 2 == 0 else writer.resume("symbol:EURUSD", "me", "x")
        os.utime(state.path, ns=(0, 0))
        seen.append(state.check())

    assert list(range(1, 21)) == seen


def test_the_size_alone_tells_numbers_apart(tmp_path: Path, clock: FakeClock) -> None:
    sizes = set()
    for number in (0, 1, 2, 3, 128, 254, 255):
        write_sealed(tmp_path / "file", b"{}" + b" " * (number % 3), number, clock)
        sizes.add((tmp_path / "file").stat().st_size)

    assert 7 == len(sizes)


def test_no_update_of_many_writers_is_lost(tmp_path: Path) -> None:
    writers, each = 4, 8
    barrier = threading.Barrier(writers)

    def write(number: int) -> None:
        mine = StateFile(tmp_path, WallClock())
        barrier.wait()
        for count in range(each):
            while True:
                with contextlib.suppress(WaitTimeout):  # a slow disk makes the last in the queue wait long
                    mine.set(f"symbol:S{number}_{count}", HALTED, "test", "because")
                    break

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    trading = StateFile(tmp_path, WallClock()).read()
    assert {f"symbol:S{number}_{count}" for number in range(writers) for count in range(each)} == set(trading.scopes)
    assert (writers * each, list(range(1, writers * each + 1))) == (
        trading.generation,
        [one.generation for one in trading.history],
    )


def test_a_writer_does_not_wait_for_ever_for_another(state: StateFile) -> None:
    state.set("symbol:EURUSD", REDUCING, "me", "a")
    with FileLock(state.folder / f"{STATE_NAME}.lock") as lock:
        assert lock.try_acquire()

        with pytest.raises(WaitTimeout, match="locked by another process for 2 s; try again"):
            state.set(ACCOUNT, HALTED, "me", "b")

    assert [1, 2] == [state.generation, state.set(ACCOUNT, HALTED, "me", "b")]


def test_halting_by_all_means_uses_the_flag_where_the_file_is_locked(state: StateFile, clock: FakeClock) -> None:
    state.set("symbol:EURUSD", REDUCING, "me", "a")
    with FileLock(state.folder / f"{STATE_NAME}.lock") as lock:
        assert lock.try_acquire()

        state.halt_account("watchdog", "it hangs")

        assert state.effective("trend", "USDJPY") is HALTED
        assert another(state, clock).effective("trend", "USDJPY") is HALTED
    assert "watchdog: it hangs\n" == (state.folder / "HALT").read_text(encoding="utf-8")


# --- what cannot be believed


def sealed(state: StateFile) -> bytes:
    state.set("strategy:trend", REDUCING, "me", "because")
    return state.path.read_bytes()


def test_every_changed_bit_halts(state: StateFile, clock: FakeClock) -> None:
    good = sealed(state)
    for place in range(len(good)):
        bad = bytearray(good)
        bad[place] ^= 1 << (place % 8)
        state.path.write_bytes(bad)

        trading = another(state, clock).read()

        assert trading.effective("other", "USDJPY") is HALTED, place
        assert "does not match its checksum" in trading.trouble


def test_every_cut_halts(state: StateFile, clock: FakeClock) -> None:
    good = sealed(state)
    for length in range(len(good)):
        state.path.write_bytes(good[:length])

        assert another(state, clock).effective("other", "USDJPY") is HALTED, length


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_anything_else_halts(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("state")
    (folder / STATE_NAME).write_bytes(data)

    assert StateFile(folder, FakeClock()).effective("trend", "EURUSD") is HALTED


def test_a_file_that_is_gone_halts_whoever_has_seen_it_and_whoever_comes_later(state: StateFile, clock: FakeClock) -> None:
    before = state.set("strategy:trend", HALTED, "me", "a")
    state.path.unlink()

    assert state.changed(before)
    assert [HALTED, HALTED] == [state.effective("other", "USDJPY"), another(state, clock).effective("other", "USDJPY")]
    assert "is not there, though it was written before" in state.read().trouble


def test_an_older_copy_halts_until_somebody_resumes(state: StateFile, clock: FakeClock) -> None:
    state.set("strategy:trend", REDUCING, "me", "a")
    old = state.path.read_bytes()
    state.set("strategy:trend", HALTED, "me", "b")
    state.path.write_bytes(old)

    before = state.check()
    assert "went back from generation 2 to 1" in state.read().trouble
    assert state.effective("other", "USDJPY") is HALTED
    clock.advance(1)
    another(state, clock).resume(ACCOUNT, "me", "restored a backup")
    assert state.changed(before)
    assert [ACTIVE, REDUCING] == [state.effective("other", "USDJPY"), state.effective("trend", "USDJPY")]
    assert state.generation > before


def test_a_file_that_becomes_whole_again_by_itself_does_not_resume(state: StateFile, clock: FakeClock) -> None:
    good = sealed(state)
    state.path.write_bytes(good[:-1])
    state.check()
    state.path.write_bytes(good)

    assert state.read().trouble
    assert state.effective("other", "USDJPY") is HALTED
    another(state, clock).set("symbol:EURUSD", REDUCING, "me", "not about the account")
    state.check()
    assert state.effective("other", "USDJPY") is HALTED


def test_a_damaged_file_is_kept_and_a_resume_starts_anew(state: StateFile, clock: FakeClock) -> None:
    bad = sealed(state)[:-1]
    state.path.write_bytes(bad)
    fresh = another(state, clock)
    before = state.check()

    generation = fresh.resume(ACCOUNT, "me", "disk replaced")

    assert bad == (state.folder / f"{STATE_NAME}.damaged").read_bytes()
    assert fresh.effective("other", "USDJPY") is ACTIVE
    assert ["HALTED", "ACTIVE"] == [one.state for one in fresh.read().history]
    assert state.changed(before)
    assert (ACTIVE, "") == (state.effective("other", "USDJPY"), state.read().trouble)
    assert generation > 1_000_000


def test_another_scope_cannot_be_resumed_past_a_damaged_file(state: StateFile, clock: FakeClock) -> None:
    state.path.parent.mkdir()
    state.path.write_bytes(b"{}")

    fresh = another(state, clock)
    fresh.resume("strategy:trend", "me", "because")

    assert fresh.effective("trend", "EURUSD") is HALTED


def test_a_newer_format_halts_and_says_why(state: StateFile, clock: FakeClock) -> None:
    state.folder.mkdir()
    write_sealed(state.path, b'{"format":2,"generation":5}', 5, clock)

    assert "has format 2, and this Herald reads 1" in another(state, clock).read().trouble


def test_a_folder_that_is_none_halts(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "state").write_text("", encoding="utf-8")

    state = StateFile(tmp_path / "state", clock)

    assert state.effective("trend", "EURUSD") is HALTED
    assert "cannot be read" in state.read().trouble
    assert state.check() == state.check()


def test_what_is_in_place_of_the_file_and_cannot_be_opened_halts_and_stays_at_one_generation(
    state: StateFile, clock: FakeClock
) -> None:
    state.path.mkdir(parents=True)

    other = another(state, clock)

    assert other.effective("trend", "EURUSD") is HALTED
    assert other.check() == other.check()


# --- the flag


@pytest.mark.parametrize("name", FLAG_NAMES)
def test_a_flag_halts_at_the_next_check_and_its_removal_resumes_nothing(state: StateFile, clock: FakeClock, name: str) -> None:
    before = state.check()
    state.folder.mkdir()
    (state.folder / name).write_text("the  line\nis down", encoding="utf-8")

    assert state.changed(before)
    assert ("file HALT", "the line is down") == (state.read().scopes[ACCOUNT].who, state.read().scopes[ACCOUNT].why)
    (state.folder / name).unlink()
    assert state.read().effective("trend", "EURUSD") is HALTED
    assert another(state, clock).effective("trend", "EURUSD") is HALTED


def test_an_empty_flag_halts(state: StateFile) -> None:
    state.folder.mkdir()
    (state.folder / "HALT").touch()

    assert "the file HALT is there" == state.read().scopes[ACCOUNT].why


def test_a_flag_forbids_the_exits_that_a_halt_let_pass(state: StateFile) -> None:
    state.set(ACCOUNT, HALTED, "me", "a", exits=True)
    (state.folder / "HALT").touch()

    assert state.read().denial(request(reduce_only=True)) is not None


def test_the_account_cannot_be_resumed_while_the_flag_is_there(state: StateFile) -> None:
    state.folder.mkdir()
    (state.folder / "HALT").touch()
    state.check()

    with pytest.raises(HeraldError, match="HALT'; delete it, then resume"):
        state.resume(ACCOUNT, "me", "because")
    (state.folder / "HALT").unlink()
    state.resume(ACCOUNT, "me", "because")

    assert state.effective("trend", "EURUSD") is ACTIVE


def test_a_flag_that_comes_back_at_once_halts_again(state: StateFile, clock: FakeClock) -> None:
    state.folder.mkdir()
    (state.folder / "HALT").touch()
    state.check()
    (state.folder / "HALT").unlink()
    another(state, clock).resume(ACCOUNT, "me", "because")
    (state.folder / "HALT").touch()

    assert state.read().effective("trend", "EURUSD") is HALTED


def test_a_flag_halts_in_memory_where_it_cannot_be_written_down(state: StateFile) -> None:
    state.set("symbol:EURUSD", REDUCING, "me", "a")
    before = state.check()
    with FileLock(state.folder / f"{STATE_NAME}.lock") as lock:
        assert lock.try_acquire()
        (state.folder / "HALT").touch()

        assert state.changed(before)
        (state.folder / "HALT").unlink()
        assert state.read().effective("trend", "USDJPY") is HALTED


# --- tokens


@pytest.fixture
def office() -> TokenOffice:
    return TokenOffice()


def refused(office: TokenOffice, permit: object, what: OrderRequest, generation: int = 1) -> str:
    with pytest.raises(PermitError) as error:
        office.redeem(permit, what, generation)
    return error.value.code


def test_a_token_is_good_once(office: TokenOffice) -> None:
    token = office.issue(request(), 1)

    office.redeem(token, request(), 1)

    assert "token_used" == refused(office, token, request())


def test_a_token_is_good_for_exactly_its_request(office: TokenOffice) -> None:
    token = office.issue(request(), 1)

    assert "token_altered" == refused(office, token, request(size=0.2))
    assert "token_used" == refused(office, token, request())


def test_a_token_is_good_for_its_generation_only(office: TokenOffice) -> None:
    token = office.issue(request(), 1)

    assert "token_stale" == refused(office, token, request(), 2)


@pytest.mark.parametrize("permit", [None, "yes", object()])
def test_nothing_is_no_token(office: TokenOffice, permit: object) -> None:
    assert "token_missing" == refused(office, permit, request())


def test_a_token_made_by_hand_is_not_accepted(office: TokenOffice) -> None:
    real = office.issue(request(), 1)

    assert "token_missing" == refused(office, Token(99, request(), 1), request())
    assert "token_altered" == refused(office, Token(real.number, request(), 1), request())


def test_a_token_of_another_office_is_not_accepted(office: TokenOffice) -> None:
    assert "token_missing" == refused(office, TokenOffice().issue(request(), 1), request())


def test_tokens_that_are_never_redeemed_take_no_memory_for_ever() -> None:
    office = TokenOffice(capacity=3)

    tokens = [office.issue(request(), 1) for _ in range(5)]

    assert ["token_used", "token_used"] == [refused(office, one, request()) for one in tokens[:2]]
    for one in tokens[2:]:
        office.redeem(one, request(), 1)
    with pytest.raises(ValueError, match="capacity must be at least 1, not 0"):
        TokenOffice(capacity=0)


def test_of_many_threads_one_redeems_a_token(office: TokenOffice) -> None:
    count, rounds = 8, 50
    barrier, codes = threading.Barrier(count), []

    tokens = [office.issue(request(), 1) for _ in range(rounds)]

    def redeem() -> None:
        for token in tokens:
            barrier.wait()
            try:
                office.redeem(token, request(), 1)
                codes.append("")
            except PermitError as error:
                codes.append(error.code)

    threads = [threading.Thread(target=redeem) for _ in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert [""] * rounds + ["token_used"] * rounds * (count - 1) == sorted(codes)


def test_what_passed_the_gate_before_a_halt_is_not_redeemed_after_it(
    state: StateFile, clock: FakeClock, office: TokenOffice
) -> None:
    token = office.issue(request(), state.check())

    another(state, clock).set("strategy:other", HALTED, "me", "because")

    assert "token_stale" == refused(office, token, request(), state.check())


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["account", "strategy:a", "strategy:b", "symbol:x", "symbol:y"]), st.sampled_from([REDUCING, HALTED])
    ),
    st.sampled_from("ab"),
    st.sampled_from("xy"),
)
def test_effective_is_the_strictest_state_and_a_denial_agrees(
    scopes: dict[str, TradingState], strategy: str, symbol: str
) -> None:
    trading = Trading(
        1, {name: Change(generation=1, time=0, scope=name, state=one, who="w", why="y") for name, one in scopes.items()}
    )
    order = [ACTIVE, REDUCING, HALTED]
    expected = max((scopes.get(one, ACTIVE) for one in ("account", f"strategy:{strategy}", f"symbol:{symbol}")), key=order.index)

    assert expected is trading.effective(strategy, symbol)
    assert (expected is ACTIVE) == (trading.denial(request(strategy, symbol)) is None)
    assert (expected is not HALTED) == (trading.denial(request(strategy, symbol, reduce_only=True)) is None)


# --- a permission that comes back


def test_a_permission_of_an_order_that_never_left_is_good_again() -> None:
    office = TokenOffice()
    token = office.issue(request(), 1)
    office.redeem(token, request(), 1)

    office.give_back(token)

    office.redeem(token, request(), 1)


def test_a_permission_made_by_hand_does_not_become_valid_by_giving_it_back() -> None:
    office = TokenOffice()
    made = Token(1, request(), 1)

    office.give_back(made)
    office.give_back("something")

    with pytest.raises(PermitError) as caught:
        office.redeem(made, request(), 1)
    assert "token_missing" == caught.value.code


def test_a_permission_that_came_back_once_does_not_come_back_twice() -> None:
    office = TokenOffice()
    token = office.issue(request(), 1)
    office.redeem(token, request(), 1)
    office.give_back(token)
    office.redeem(token, request(), 1)
    office.give_back(token)
    office.give_back(token)
    office.redeem(token, request(), 1)

    with pytest.raises(PermitError) as caught:
        office.redeem(token, request(), 1)
    assert "token_used" == caught.value.code
