"""A broker that Herald can be killed against: a real server with a durable book of its own, and every bad habit.

It serves one account over loopback. What it told a client is in its book; it survives its own death and that of any
client. It misbehaves as it is told, from the start or at run time, and always the same way for the same seed.

    with SimBroker.start(tmp_path / "book.sqlite", mode="netting") as broker:   # a process of its own
        broker.control.set_faults(Fault(kind="lost_reply", operations=("submit",), times=1))
        ...                                                                     # trade against broker.address
        broker.kill(); broker.restart()
        assert broker.book().verify() == []

From a shell: ``python -m herald.testing.simbroker --book FILE`` prints one line of JSON (address, pid, tokens) and serves.

The protocol, version 1
-----------------------
TCP. A *frame* is a length (4 bytes, big endian, 1 to 1,048,576; 4,096 before ``hello``) and so many bytes of UTF-8 JSON.
What is no frame, or no request, closes the connection and is counted (``bad_frames``); it is not answered.

*Request*: ``[number, operation, {fields}]``; the number is the client's own. *Answer*: ``[number, true, result]`` or
``[number, false, {"code": ..., "text": ...}]``, one for each request, with its number. Answers come in the order of
the requests unless faults are set. Times are integers, nanoseconds UTC; prices and sizes are numbers; tickets are integers.

The first request is ``hello`` with ``version``, ``token``, and perhaps ``role`` (``trade`` or ``control``) and
``account``. Its result: ``version, server, account, real, currency, mode, idempotent, settle_seconds, book`` (an id; another one
is another book), ``sequence`` (of the last line of news), ``time``. A refused login is answered and closed.

===============  ==============================================  =====================================================
operation        fields                                          result
===============  ==============================================  =====================================================
``ping``                                                         ``time``
``instruments``                                                  list of ``symbol, base, quote, price_step, size_step,
                                                                 min_size, max_size, contract_size``
``account``                                                      ``id, server, real, currency, mode, balance, equity,
                                                                 margin_used, margin_free, leverage, time``
``positions``                                                    list of `Holding`
``orders``                                                       list of working orders, `Entry`
``find``         ``tag``, ``since``                              list of `Entry`, working, over, or behind a position
``deals``        ``since``, ``after`` (number), ``limit``        list of `Deal` by number, at most 5,000
``quote``        ``symbol``                                      ``symbol, time, bid, ask``
``bars``         ``symbol, seconds, start, end``                 list of ``[end, open, high, low, close, ticks]``, finished
                                                                 bars of bid prices that end in (start, end], at most 5,000
``poll``         ``after`` (sequence), ``limit``, ``feeds``      ``news`` (list of ``[sequence, "order" or "deal", body]``
                 (list of ``[symbol, seconds or null]``),        after that sequence), ``more``, ``bars`` (list of
                 ``since`` (time)                                ``[symbol, seconds, bar]``), ``quotes``, ``time``
``submit``       fields of `Wanted`                              ``order, status, repeated``
``modify``       ``order, size, price, stop_loss, take_profit,   ``{}``
                 expires`` (the terms as they shall be)
``cancel``       ``order``                                       ``was_working``; an order that is gone is no error
===============  ==============================================  =====================================================

News is durable and numbered: a client asks for what comes after the last line it has dealt with, so a repeated ``poll``
loses nothing, whatever became of the answer to the first. Codes of refusals: ``unknown_symbol, bad_size, bad_side,
bad_type, bad_price, bad_stops, bad_tag, bad_time_in_force, bad_expiry, bad_timeframe, no_money, unknown_position,
nothing_to_reduce, unknown_order, not_working, unknown_operation, bad_request``, at login ``version, bad_token,
unknown_account``; ``busy`` means that nothing was done for now.

The control says ``set_faults, add_faults, add_script`` (``faults``), ``set_price`` (``symbol, bid, ask``), ``freeze``
(``on``), ``advance`` (``seconds``), ``set_account`` (``account, server, real``), ``disconnect_all``, ``bust`` (``deal``),
``status``, ``stop``; see `Control`.

The rules of trading
--------------------
A buy trades at the ask, a sell at the bid, at market prices (a limit order at its price or better). On a hedging account
each opening order has a position of its own, whose ticket is the order's number; ``position`` closes that one, and
``reduce_only`` alone closes the oldest first. On a netting account a symbol has one position, which keeps its ticket
until it is flat. What would reduce more than there is, is cut. ``stop_loss`` and ``take_profit`` become two working
orders with ``parent`` and ``parent_tag`` when their order trades; one withdraws the other, and they never outlive the
position. A busted deal is taken back by a deal the other way round with ``busts``.

A request that waits to be executed (``execution_delay``) is lost when the broker dies; everything answered is not.
"""

from __future__ import annotations

from herald.testing.simbroker.book import BookView, Deal, Entry, Holding
from herald.testing.simbroker.exchange import Refusal
from herald.testing.simbroker.process import Control, FlakyBroker, SimBroker, flaky_broker, make_terms
from herald.testing.simbroker.server import Server, Timeline
from herald.testing.simbroker.terms import Fault, Symbol, Terms

__all__ = [
    "BookView",
    "Control",
    "Deal",
    "Entry",
    "Fault",
    "FlakyBroker",
    "Holding",
    "Refusal",
    "Server",
    "SimBroker",
    "Symbol",
    "Terms",
    "Timeline",
    "flaky_broker",
    "make_terms",
]
