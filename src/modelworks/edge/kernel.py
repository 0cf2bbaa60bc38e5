"""What only the kernel knows of a socket: its backlog, its unread bytes; and how to hold off."""

import array
import ctypes
import fcntl
import logging
import select
import socket
import struct
import sys
import termios

_log = logging.getLogger(__name__)


class _Instruction(ctypes.Structure):
    """`struct sock_filter` of classic BPF."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


# On a TCP socket the program sees the segment from its TCP header on; byte 13 has the flags.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x45, 0, 1, 0x02),  # jset #SYN
    (0x06, 0, 0, 0),  # ret #0: drop, so the client tries again
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1: pass; the end of a handshake that has begun
)
_SO_ATTACH_FILTER = 26


def hold_off(sock: socket.socket) -> bool:
    """Make the kernel drop connection requests of a listening socket; False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    program = (_Instruction * len(_DROP_SYN))(*(_Instruction(*line) for line in _DROP_SYN))
    filter_ = struct.pack("HL", len(_DROP_SYN), ctypes.addressof(program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
    except OSError as error:
        _log.info("connection requests cannot be held off while draining: %s", error)
        return False
    return True


def backlog(sock: socket.socket) -> int:
    """Connections that the kernel has made and that nobody has accepted yet (Linux)."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int(struct.unpack_from("I", info, 24)[0])  # tcpi_unacked of a listening socket


def unread_bytes(sock: socket.socket) -> int:
    """Bytes that arrived on a connection and that nobody has read yet."""
    answer = array.array("i", [0])
    try:
        fcntl.ioctl(sock.fileno(), termios.FIONREAD, answer)
    except OSError:
        return 0
    return answer[0]


def hung_up(sock: socket.socket) -> bool:
    """Whether the other side has closed, as far as can be told without reading."""
    poll = select.poll()
    closed = getattr(select, "POLLRDHUP", 0)
    poll.register(sock, closed)  # POLLHUP and POLLERR are told of always
    return bool(poll.poll(0))
