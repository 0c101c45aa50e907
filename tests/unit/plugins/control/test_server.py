"""The socket of the server; its process is tried in tests/integration/test_control.py."""

from __future__ import annotations

import asyncio
import socket

from herald.plugins.control.server import _listen
from herald.plugins.control.settings import ControlSettings


def test_an_answer_in_two_parts_does_not_wait_for_an_acknowledgement() -> None:
    async def accepted() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            taken = writer.get_extra_info("socket")
            told.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = _listen(ControlSettings(port=0))
        async with await asyncio.start_server(meet, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
            writer.close()
            return await told

    assert asyncio.run(accepted())
