"""The simulated broker as a process: killed, hung, restarted, behind a bad network, and its book afterwards."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from herald.clock import WallClock
from herald.errors import AmbiguousError, ConnectorError, NotConnected, NotSent, TransientError
from herald.model import Fill, OrderRequest, OrderStatus, OrderType, Side
from herald.plugins.simbroker import SimBrokerConnector, SimBrokerSettings
from herald.testing import make_services
from herald.testing.faultproxy import FaultProxy, Toxic, length_prefixed
from herald.testing.simbroker import BookView, Fault, SimBroker, Symbol

CALM = (Symbol(symbol="EURUSD", base="EUR", price=1.1, digits=5, volatility=0.0),)
PATIENCE = 30.0
SHORT = 0.05
"""Seconds after which a call whose answer never comes gives up."""
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows cannot send these signals to one process")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as things:
        yield things


@pytest.fixture
def start(stack: ExitStack, tmp_path: Path) -> Callable[..., SimBroker]:
    def call(**changes: Any) -> SimBroker:
        terms = {"symbols": CALM, "history_days": 0.01, "balance": 1e9, **changes}
        return stack.enter_context(SimBroker.start(tmp_path / "book.sqlite", **terms))

    return call


@pytest.fixture
def connector(stack: ExitStack) -> Callable[..., SimBrokerConnector]:
    def make(broker: SimBroker, address: str = "", **settings: Any) -> SimBrokerConnector:
        given = {"address": address or broker.address, "token": broker.terms.token, "timeout_seconds": PATIENCE, **settings}
        made = SimBrokerConnector(SimBrokerSettings(**given), make_services("connectors.main", clock=WallClock()))
        stack.callback(made.disconnect)
        return made

    return make


def request(tag: str, side: Side = Side.BUY, **fields: Any) -> OrderRequest:
    return OrderRequest(f"trend-{tag}", "trend", "EURUSD", side, 0.01, client_tag=tag, **fields)


def waiting(tag: str) -> OrderRequest:
    return request(tag, type=OrderType.LIMIT, limit=1.0)


@contextmanager
def impatient(one: SimBrokerConnector) -> Iterator[None]:
    """Let calls of *one* give up quickly; only those whose answer never comes, for a slow machine is no fault."""
    patient = one._settings
    one._settings = patient.model_copy(update={"timeout_seconds": SHORT})
    try:
        yield
    finally:
        one._settings = patient


def wait_for(condition: Callable[[], bool]) -> None:
    clock = WallClock()
    until = clock.monotonic() + PATIENCE
    while not condition():
        assert clock.monotonic() < until, "it never came about"
        clock.sleep(0.005)


def place(one: SimBrokerConnector, tag: str) -> None:
    """Place one order exactly once, whatever happens on the way; the broker executes nothing late."""
    in_doubt = False
    while True:
        try:
            one.connect()
            if in_doubt and one.find(tag, 0):
                return
            one.submit(request(tag))
        except AmbiguousError:
            in_doubt = True
        except (NotSent, NotConnected, TransientError):
            WallClock().sleep(0.002)
        else:
            return


# --- killed


@pytest.mark.parametrize("mode", ["hedging", "netting"])
def test_broker_killed_five_times_during_200_orders_has_each_of_them_once(
    start: Callable[..., SimBroker], connector: Callable[..., SimBrokerConnector], mode: str
) -> None:
    broker = start(mode=mode)
    one, draw = connector(broker), random.Random(11)
    tags = [f"t{index:04d}" for index in range(200)]
    deaths = set(draw.sample(range(10, 190), 5))
    inside = 0

    for index, tag in enumerate(tags):
        if index in deaths:
            # It dies in the middle of a request: the order is on its way, or executed and not answered.
            fault = draw.choice(["lost_reply", "hang"])
            broker.control.set_faults(Fault(kind=fault, operations=("submit",), times=1))  # type: ignore[arg-type]
            one.connect()
            with impatient(one), pytest.raises(AmbiguousError):
                one.submit(request(tag))
            if fault == "lost_reply":
                inside += 1
                wait_for(lambda tag=tag: bool(broker.book().tagged(tag)))
            broker.kill()
            assert (1 if fault == "lost_reply" else 0) == len(broker.book().tagged(tag))
            broker.restart()
            one.connect()
            if one.find(tag, 0):
                continue
        place(one, tag)

    broker.kill()
    book = broker.book()
    assert 0 < inside < 5
    assert tags == [order.asked for order in book.orders]
    assert [] == book.verify()
    assert 200 == len({order.number for order in book.orders}) == len({deal.number for deal in book.deals})
    assert {"EURUSD": 2.0} == book.held()


def test_broker_killed_at_any_moment_kept_everything_that_it_told(
    start: Callable[..., SimBroker], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker, draw, clock = start(), random.Random(5), WallClock()
    one = connector(broker)
    told: dict[str, str] = {}
    for round_number in range(5):
        one.connect()
        # Time decides where it dies: somewhere in reading, writing, committing or answering.
        killer = subprocess.Popen(
            [sys.executable, "-c", f"import os, time; time.sleep({draw.uniform(0.0, 0.05)}); os.kill({broker.pid}, {KILL})"]
        )
        index = 0
        try:
            while True:
                tag = f"r{round_number}-{index}"
                told[tag] = one.submit(request(tag, stop_loss=1.0))
                index += 1
        except ConnectorError:
            killer.wait(PATIENCE)
        wait_for(lambda: not broker.is_alive)
        broker.restart()
        clock.sleep(0)

    book = broker.book()
    assert [] == book.verify()
    assert told == {order.asked: str(order.number) for order in book.orders if order.asked in told}
    assert len(told) <= len([order for order in book.orders if order.asked]) <= len(told) + 5


KILL = int(getattr(signal, "SIGKILL", signal.SIGTERM))


def test_restarted_broker_has_the_same_address_book_and_news(
    start: Callable[..., SimBroker], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker = start()
    one = connector(broker)
    one.connect()
    one.submit(request("first"))
    address, pid = broker.address, broker.pid

    broker.restart()
    one.disconnect()
    one.connect()
    one.submit(request("second"))

    assert (address, False) == (broker.address, pid == broker.pid)
    assert ["first", "second"] == [event.order_id for event in one.poll() if isinstance(event, Fill)]
    assert 2 == len(one.positions())


def test_idempotent_broker_remembers_client_ids_over_its_death(
    start: Callable[..., SimBroker], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker = start(idempotent=True)
    one = connector(broker)
    one.connect()
    first = one.submit(request("once"))

    broker.restart()
    one.disconnect()
    one.connect()

    assert first == one.submit(request("once"))
    assert 1 == len(broker.book().orders)


# --- clients that die


CLIENT = """
import sys
from herald.clock import WallClock
from herald.model import OrderRequest, Side
from herald.plugins.simbroker import SimBrokerConnector, SimBrokerSettings
from herald.testing import make_services
address, token = sys.argv[1:]
settings = SimBrokerSettings(address=address, token=token, timeout_seconds=60)
one = SimBrokerConnector(settings, make_services("connectors.main", clock=WallClock()))
one.connect()
one.submit(OrderRequest("trend-1", "trend", "EURUSD", Side.BUY, 0.01, client_tag="orphan"))
"""


def test_order_of_a_client_that_was_killed_is_executed_after_its_death(start: Callable[..., SimBroker]) -> None:
    broker = start()
    broker.control.set_faults(Fault(kind="execution_delay", operations=("submit",), seconds=60.0))
    client = subprocess.Popen([sys.executable, "-c", CLIENT, broker.address, broker.terms.token])
    wait_for(lambda: broker.control.counts().get("submit") == 1)
    client.kill()
    client.wait()
    wait_for(lambda: broker.control.clients() == 0)
    before = broker.book().tagged("orphan")

    broker.control.advance(60.0)
    wait_for(lambda: bool(broker.book().tagged("orphan")))

    assert () == before
    assert ["filled"] == [order.status for order in broker.book().tagged("orphan")]


def test_broker_does_not_outlive_the_test_that_started_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from herald.testing.simbroker import SimBroker\n"
        "broker = SimBroker.start(sys.argv[1]); print(broker.address, flush=True); os._exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "b.sqlite")], capture_output=True, encoding="utf-8", check=False
    )
    settings = SimBrokerSettings(address=done.stdout.strip(), token="t")  # type: ignore[arg-type]
    one = SimBrokerConnector(settings, make_services("connectors.main", clock=WallClock()))

    def is_gone() -> bool:
        try:
            one.connect()
        except NotSent:
            return True
        except ConnectorError:
            return False
        return False

    wait_for(is_gone)
    assert [] == BookView.read(tmp_path / "b.sqlite").verify()


# --- hung


@POSIX
def test_hung_broker_is_noticed_and_goes_on_where_it_was(
    start: Callable[..., SimBroker], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker = start()
    one, other = connector(broker), connector(broker)
    one.connect()
    broker.pause()
    with impatient(one), pytest.raises(AmbiguousError, match="timed out"):
        one.submit(request("hung"))
    with impatient(one), pytest.raises(TransientError, match="no answer to hello"):
        one.connect()  # the system accepts for it, and nobody answers

    broker.resume()
    other.connect()

    wait_for(lambda: bool(other.find("hung", 0)))  # the request had arrived
    assert [OrderStatus.FILLED] == [order.status for order in other.find("hung", 0)]


# --- behind a bad network


@pytest.fixture
def proxied(stack: ExitStack, start: Callable[..., SimBroker]) -> tuple[SimBroker, FaultProxy]:
    broker = start()
    return broker, stack.enter_context(FaultProxy(broker.address, 1, splitter=length_prefixed))


@pytest.mark.parametrize("kind", ["reset", "black_hole", "half_open", "lost_reply", "garbage", "limit_data"])
def test_order_under_every_failure_of_the_network_is_ambiguous_and_found_or_not_by_its_tag(
    proxied: tuple[SimBroker, FaultProxy], connector: Callable[..., SimBrokerConnector], kind: Any
) -> None:
    broker, proxy = proxied
    one = connector(broker, proxy.address)
    one.connect()
    waits = impatient(one) if kind in ("black_hole", "half_open", "lost_reply") else nullcontext()
    up = "up" if kind == "black_hole" else "down"
    toxic = proxy.add(Toxic(kind=kind, direction=up, size=1)) if kind != "reset" else 0
    if kind == "reset":
        broker.control.set_faults(Fault(kind="reset", operations=("submit",)))

    with waits, pytest.raises(AmbiguousError, match="no answer to submit"):
        one.submit(request("doubt"))

    proxy.remove(toxic)
    broker.control.set_faults()
    one.connect()
    if kind == "lost_reply":
        wait_for(lambda: bool(one.find("doubt", 0)))
    assert (0 if kind in ("black_hole", "half_open") else 1) == len(one.find("doubt", 0))


def test_answer_that_comes_twice_is_not_taken_for_the_next_one(
    proxied: tuple[SimBroker, FaultProxy], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker, proxy = proxied
    one = connector(broker, proxy.address)
    one.connect()
    proxy.add(Toxic(kind="duplicate_reply"))
    first = one.submit(waiting("first"))

    # The second answer is found before the next order is written, or it is the answer to the wrong request.
    with pytest.raises((NotSent, AmbiguousError)):
        one.submit(waiting("second"))

    one.connect()
    assert [first] == [order.broker_id for order in one.find("first", 0)]


def test_broker_that_is_down_gets_nothing_and_is_reached_when_it_is_back(
    proxied: tuple[SimBroker, FaultProxy], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker, proxy = proxied
    one = connector(broker, proxy.address)
    down = proxy.add(Toxic(kind="down"))

    with pytest.raises(NotSent):
        one.connect()
    proxy.remove(down)
    one.connect()

    assert "EURUSD" == one.quote("EURUSD").symbol


def test_server_that_accepts_and_says_nothing_fails_the_login(
    proxied: tuple[SimBroker, FaultProxy], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker, proxy = proxied
    proxy.add(Toxic(kind="silent"))

    with pytest.raises(TransientError, match="no answer to hello: timed out"):
        connector(broker, proxy.address, timeout_seconds=SHORT).connect()


def test_answer_in_slices_is_put_together(
    proxied: tuple[SimBroker, FaultProxy], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker, proxy = proxied
    one = connector(broker, proxy.address)
    proxy.add(Toxic(kind="slicer", size=3))
    one.connect()

    assert ["EURUSD"] == [instrument.symbol for instrument in one.instruments()]


def test_hundred_disconnects_lose_no_order_double_none_and_leave_nothing_open(
    proxied: tuple[SimBroker, FaultProxy], connector: Callable[..., SimBrokerConnector]
) -> None:
    broker, proxy = proxied
    one = connector(broker, proxy.address)
    place(one, "t-first")
    broker.control.clients()  # its connection stands from here on
    gc.collect()
    open_before = open_files()
    tags = [f"t{index:03d}" for index in range(100)]

    for index, tag in enumerate(tags):
        kind = "lost_reply" if index % 2 else "garbage"
        proxy.add(Toxic(kind=kind))  # type: ignore[arg-type]
        with impatient(one) if kind == "lost_reply" else nullcontext(), pytest.raises(AmbiguousError):
            one.submit(request(tag))
        proxy.clear()
        one.connect()
        wait_for(lambda tag=tag: bool(one.find(tag, 0)))

    wait_for(lambda: broker.control.clients() == 1)
    assert ["t-first", *tags] == [order.asked for order in broker.book().orders]
    assert [] == broker.book().verify()
    wait_for(lambda: open_files() <= open_before)


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


# --- the command


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "herald.testing.simbroker", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=False, stdin=subprocess.DEVNULL)


def test_command_says_in_one_line_where_it_serves_and_ends_with_its_input(tmp_path: Path) -> None:
    done = run("--book", str(tmp_path / "b.sqlite"), "--with-parent")

    (line,) = done.stdout.splitlines()
    ready = json.loads(line)
    assert (0, "") == (done.returncode, done.stderr)
    assert {"address", "pid", "book", "account", "token", "control_token"} == ready.keys()


def test_command_does_not_repeat_tokens_that_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "terms.json").write_text('{"token": "hush", "control_token": "hush-hush"}', encoding="utf-8")

    done = run("--book", str(tmp_path / "b.sqlite"), "--with-parent", "--terms", str(tmp_path / "terms.json"))

    assert 0 == done.returncode
    assert "hush" not in done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "missing required field"),
        ('{"token": "a", "control_token": "a"}', "must differ from control_token"),
        ('{"token": "a", "control_token": "b", "colour": 1}', "unknown field `colour`"),
        ("nonsense", "JSON is malformed"),
    ],
)
def test_command_says_in_one_line_what_is_wrong_with_its_terms(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "terms.json").write_text(text, encoding="utf-8")

    done = run("--book", str(tmp_path / "b.sqlite"), "--terms", str(tmp_path / "terms.json"))

    assert (2, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert words in done.stderr


def test_command_refuses_a_file_that_is_no_book(tmp_path: Path) -> None:
    (tmp_path / "b.sqlite").write_bytes(b"something else entirely, and long enough to look " * 30)

    done = run("--book", str(tmp_path / "b.sqlite"))

    assert 2 == done.returncode
    assert "is no book of a simulated broker" in done.stderr


def test_broker_that_cannot_start_is_an_error_of_the_helper(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.sqlite").write_bytes(b"something else entirely, and long enough to look " * 30)

    with pytest.raises(RuntimeError, match="ended with code 2 before it served"):
        SimBroker.start(tmp_path / "b.sqlite")

    assert "is no book" in capfd.readouterr().err


def test_changed_terms_are_checked_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leverage must be positive"):
        SimBroker.start(tmp_path / "b.sqlite", leverage=-1.0)

    assert [] == list(tmp_path.iterdir())
