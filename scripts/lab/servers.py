"""Servers for the tests: each answers with the address that it was called from."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType

from namespaces import Machine

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
#: Seconds after which an answer will not come. Only passed by tests that fail.
PATIENCE = 10.0


class Echo:
    """Sockets of any machine, answered by one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._end, self._wake = socket.socketpair()
        self._selector.register(self._end, selectors.EVENT_READ)
        #: Machine, kind, port and caller of every call.
        self.calls: list[tuple[str, str, int, str]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Echo:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wake.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]

    def listen(self, machine: Machine, family: int, kind: str, port: int, address: str | None = None, answer: int = 0) -> None:
        """Answers there; a datagram with at least `answer` bytes."""
        made = machine.socket(FAMILIES[family], socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address or ("::" if family == 6 else "0.0.0.0"), port))
        if kind == "tcp":
            made.listen(100)
        made.setblocking(False)
        self._selector.register(made, selectors.EVENT_READ, (machine.name, kind, port, answer))
        self._wake.send(b"x")

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._end:
                    if not self._end.recv(64):
                        return
                    continue
                machine, kind, port, answer = key.data
                try:
                    self._answer(key.fileobj, machine, kind, port, answer)  # type: ignore[arg-type]
                except OSError:
                    # The caller went away: a scan does that.
                    continue

    def _answer(self, on: socket.socket, machine: str, kind: str, port: int, answer: int) -> None:
        if kind == "tcp":
            connection, caller = on.accept()
            with connection:
                self.calls.append((machine, kind, port, caller[0]))
                connection.sendall(f"{machine} {caller[0]}".encode())
        else:
            _, caller = on.recvfrom(65536)
            self.calls.append((machine, kind, port, caller[0]))
            on.sendto(f"{machine} {caller[0]}".encode().ljust(answer), caller)


def call(machine: Machine, kind: str, address: str, port: int, source: str | None = None) -> str:
    """Calls from a machine and returns what was answered, without blanks at its end."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with machine.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as caller:
        caller.settimeout(PATIENCE)
        if source:
            caller.bind((source, 0))
        caller.connect((address, port))
        if kind == "udp":
            caller.send(b"?")
        answer = b""
        while part := caller.recv(65536):
            answer += part
            if kind == "udp":
                break
        return answer.decode()


def scan(machine: Machine, address: str, ports: range = range(1, 65536)) -> dict[str, set[int]]:
    """TCP ports that answer: `open`, or `closed`, which betrays that nothing keeps them."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found: dict[str, set[int]] = {"open": set(), "closed": set()}
    for begin in range(ports.start, ports.stop, 8000):
        selector = selectors.EpollSelector()
        with machine.inside():
            for port in range(begin, min(begin + 8000, ports.stop)):
                probe = socket.socket(family, socket.SOCK_STREAM)
                probe.setblocking(False)
                probe.connect_ex((address, port))
                selector.register(probe, selectors.EVENT_WRITE, port)
        # Silence is what most ports answer with; an open one speaks within a round trip.
        while events := selector.select(timeout=0.5):
            for key, _ in events:
                error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # type: ignore[union-attr]
                found["closed" if error else "open"].add(key.data)
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
        for key in list(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        selector.close()
    return found
