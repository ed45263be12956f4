"""Close a listening socket without resetting a client.

The kernel completes handshakes by itself. A connection that nobody has accepted when its listening socket closes is
reset, although the client may have sent a request on it. So first no further handshake may begin.
"""

import ctypes
import select
import socket
import struct
import sys

_SO_ATTACH_FILTER = 26  # of Linux (socket(7)); Python has no name for it
_DROP_SYN = (  # a program of classic BPF on the TCP header: code, jump if true, jump if false, operand
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone begins a handshake
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # accept anything else whole
)


def ignore_new_handshakes(listener: socket.socket) -> None:
    """Let the kernel drop further SYN packets. Their clients repeat them, and find the socket closed by then.

    Where the system is not Linux, do nothing: a connection at the last moment is reset.
    """
    if sys.platform == "linux":
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN))
        described = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def has_waiting(listener: socket.socket) -> bool:
    """Return whether a connection waits to be accepted."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
