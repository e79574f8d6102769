"""Datagrams between two places that have no network in common, such as a namespace and this machine."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType

DATAGRAM = 65_536


class Carrier:
    """A thread that passes what comes to `near` on to the address that `far` is connected to, and answers back."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        """Begins; both sockets are its own from now on."""
        self._near, self._far = near, far
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def _carry(self) -> None:
        caller = None
        with selectors.DefaultSelector() as selector:
            for end in (self._near, self._far, self._ended):
                selector.register(end, selectors.EVENT_READ)
            while True:
                for ready, _ in selector.select():
                    if ready.fileobj is self._ended:
                        return
                    try:
                        if ready.fileobj is self._near:
                            datagram, caller = self._near.recvfrom(DATAGRAM)
                            self._far.send(datagram)
                        else:
                            datagram = self._far.recv(DATAGRAM)
                            if caller is not None:
                                self._near.sendto(datagram, caller)
                    except OSError:
                        # As on the internet: lost, or nobody listens at the moment.
                        continue

    def __enter__(self) -> Carrier:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends."""
        self._end.close()
        self._thread.join()
        for end in (self._ended, self._near, self._far):
            end.close()
