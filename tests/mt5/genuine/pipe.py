"""The named pipe of a MetaTrader 5 terminal that is not there: ``python pipe.py TERMINAL_PATH HOST:PORT``.

Runs under the Windows Python and knows nothing but frames: what the MetaTrader5 extension asks on the pipe goes to the
address, and the answer comes back the same way (see ``tests/mt5/standin.py``). When the other side hangs up, so does
the pipe.
"""

import ctypes
import ctypes.wintypes as win
import hashlib
import socket
import struct
import sys
import threading

__all__ = ["pipe_name"]

DUPLEX, BYTES, UNLIMITED, BUFFER = 3, 0, 255, 1 << 16
INVALID = win.HANDLE(-1).value

kernel = ctypes.WinDLL("kernel32", use_last_error=True)
kernel.CreateNamedPipeW.restype = win.HANDLE
kernel.CreateNamedPipeW.argtypes = [win.LPCWSTR, *[win.DWORD] * 6, ctypes.c_void_p]
kernel.ConnectNamedPipe.argtypes = [win.HANDLE, ctypes.c_void_p]
for transfer in (kernel.ReadFile, kernel.WriteFile):
    transfer.argtypes = [win.HANDLE, ctypes.c_void_p, win.DWORD, ctypes.POINTER(win.DWORD), ctypes.c_void_p]
kernel.CloseHandle.argtypes = [win.HANDLE]


class HungUp(Exception):
    """One of the two sides is gone."""


def pipe_name(path: str) -> str:
    """Return the name under which the extension looks for the terminal at *path*."""
    return "\\\\.\\pipe\\MT5.Terminal." + hashlib.sha256(path.lower().encode("utf-16-le")).hexdigest().upper()


def read_pipe(handle: int, size: int) -> bytes:
    """Return exactly *size* bytes."""
    found = b""
    while len(found) < size:
        place, count = ctypes.create_string_buffer(size - len(found)), win.DWORD()
        if not kernel.ReadFile(handle, place, size - len(found), ctypes.byref(count), None) or not count.value:
            raise HungUp
        found += place.raw[: count.value]
    return found


def write_pipe(handle: int, data: bytes) -> None:
    """Write all of *data*."""
    if not kernel.WriteFile(handle, data, len(data), ctypes.byref(win.DWORD()), None):
        raise HungUp


def read_socket(link: socket.socket, size: int) -> bytes:
    """Return exactly *size* bytes."""
    found = b""
    while len(found) < size:
        part = link.recv(size - len(found))
        if not part:
            raise HungUp
        found += part
    return found


def carry(handle: int, address: tuple) -> None:
    """Carry requests and replies of one client until a side hangs up."""
    # One thread, since a blocked read of a synchronous handle blocks a write to it as well.
    try:
        with socket.create_connection(address) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head = read_pipe(handle, 4)
                link.sendall(head + read_pipe(handle, *struct.unpack("<I", head)))
                head = read_socket(link, 4)
                write_pipe(handle, head + read_socket(link, *struct.unpack("<I", head)))
    except (HungUp, OSError):
        pass
    finally:
        # Not disconnected first: the end of a process only closes its handles, and the extension tells the two apart.
        kernel.CloseHandle(handle)


def main() -> None:
    """Offer the pipe for ever."""
    host, port = sys.argv[2].rsplit(":", 1)
    name, is_first = pipe_name(sys.argv[1]), True
    while True:
        handle = kernel.CreateNamedPipeW(name, DUPLEX, BYTES, UNLIMITED, BUFFER, BUFFER, 0, None)
        if handle in (None, INVALID):
            raise OSError(f"CreateNamedPipe failed: {ctypes.get_last_error()}")
        if is_first:
            print("listening", flush=True)
            is_first = False
        kernel.ConnectNamedPipe(handle, None)
        threading.Thread(target=carry, args=(handle, (host, int(port))), daemon=True).start()


if __name__ == "__main__":
    main()
