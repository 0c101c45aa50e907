"""A module with a few of MetaTrader5's functions, standard library only, that misbehaves on request: a symbol's name says how."""

import collections
import os
import struct
import time

__version__ = "9.9"

TradeRequest = collections.namedtuple(
    "TradeRequest",
    "action magic order symbol volume price stoplimit sl tp deviation type type_filling type_time expiration comment "
    "position position_by",
)
OrderSendResult = collections.namedtuple(
    "OrderSendResult", "retcode deal order volume price bid ask comment request_id retcode_external request"
)
Tick = collections.namedtuple("Tick", "time bid ask last volume time_msc flags volume_real")
BookInfo = collections.namedtuple("BookInfo", "type price volume volume_dbl")

_error = (0, "")
_sent = os.environ.get("FAKE_TERMINAL_SENT")


def configure(options):
    if "wrong" in options:
        raise ValueError("there is no option 'wrong'")
    if "slow_start" in options:
        time.sleep(options["slow_start"])


class _Records:
    """As much of an array as the server looks at."""

    class dtype:
        names = ("time", "open")
        itemsize = 60

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def tobytes(self):
        return b"".join(struct.pack("<qddddQiQ", 60 * n, 1.0, 2.0, 0.5, 1.5, n, 3, 2**63 + n) for n in range(self.count))


def last_error():
    return _error


def _set(code, text):
    global _error
    _error = code, text


def initialize(*args, **named):
    _set(1, "Success")
    return True


def symbol_info_tick(symbol):
    _set(1, "Success")
    if symbol == "HANG":
        time.sleep(60)
    if symbol == "SLOW":
        time.sleep(0.5)
    if symbol == "DIE":
        os._exit(3)
    if symbol == "SYSTEM":
        raise SystemError("it returned a result with an exception set") from OverflowError("too large")
    if symbol == "ODD":
        raise RuntimeError("odd")
    if symbol == "NONE":
        _set(-4, "Terminal: Not found")
        return None
    if symbol == "UNSAYABLE":
        return object()
    return Tick(1, 1.1, float("nan"), float("-inf"), 2**64 - 1, 2**53 + 1, 6, 0.0)


def market_book_get(symbol):
    _set(1, "Success")
    return (BookInfo(1, 1.5, 2, 2.0), BookInfo(2, 1.25, 3, 3.0))


def positions_get(**named):
    _set(1, "Success")
    return ()


def version():
    _set(1, "Success")
    return (500, 4755, "20 Dec 2024")


def copy_rates_from_pos(symbol, timeframe, start, count):
    _set(1, "Success")
    return _Records(count)


def copy_rates_range(symbol, timeframe, begin, end):
    _set(1, "Success")
    return _Records(2)


def order_send(*args, **named):
    _set(1, "Success")
    if len(args) != 1 or named:
        _set(-2, "Unnamed arguments not allowed")
        return None
    if _sent:
        with open(_sent, "a") as file:
            file.write("order\n")
    request = args[0]
    if request["symbol"] == "HANG":
        time.sleep(60)
    sent = TradeRequest(*(request.get(name, "" if name in ("symbol", "comment") else 0) for name in TradeRequest._fields))
    return OrderSendResult(10009, 1, 2, request["volume"], 1.1, 1.1, 1.2, "done", 3, 0, sent)
