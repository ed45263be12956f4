"""A listening socket that is about to close: clients that have connected are served, and none is reset."""

import socket
import sys

import pytest

from web.handshakes import has_waiting, ignore_new_handshakes


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters the packets of one socket")
def test_who_has_connected_is_accepted_and_later_ones_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as early, socket.socket() as late:
        early.connect(listener.getsockname())
        early.sendall(b"a request")

        ignore_new_handshakes(listener)

        late.settimeout(0.2)
        with pytest.raises(TimeoutError):
            late.connect(listener.getsockname())
        accepted, _ = listener.accept()
        with accepted:
            early.sendall(b", and more")
            assert b"a request, and more" == accepted.recv(19, socket.MSG_WAITALL)
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_connection_waits_until_it_is_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        assert not has_waiting(listener)
        client.connect(listener.getsockname())
        assert has_waiting(listener)
        listener.accept()[0].close()
        assert not has_waiting(listener)
