"""A TCP proxy that makes trouble: it cuts connections, flips bits in them, slows them down, or refuses them."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

_PIECE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What happens to one connection once `after` bytes have passed `up` to the server or `down` from it.

    cut      the connection is reset
    corrupt  one bit of the next byte is flipped
    slow     everything takes longer: `pause` seconds for each piece of at most 64 KiB
    refuse   the connection is closed before anything passes
    """

    kind: Literal["cut", "corrupt", "slow", "refuse"]
    way: Literal["up", "down"] = "down"
    after: int = 0
    pause: float = 0.01


Plan = Callable[[int], Trouble | None]
"""What befalls the connection with this number, counted from 0."""


class Proxy:
    """Stands before the server at `target`, as `url`. `up` and `down` count the bytes that passed, `harmed` the
    connections that were really cut, corrupted or refused. While `passes` is clear, nothing gets through, and nobody
    is told: a network that is cut."""

    def __init__(self, target: str, plan: Plan) -> None:
        parts = urlsplit(target)
        self._target, self.plan = (parts.hostname or "", parts.port or 80), plan
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.url = f"{parts.scheme}://127.0.0.1:{self.port}"
        self.passes = threading.Event()
        self.passes.set()
        self.connections, self.harmed, self.up, self.down = 0, 0, 0, 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone doesn't wake the thread that accepts.
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.passes.set()
        with self._lock:
            for connection in self._open:
                _reset(connection)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.passes.wait()
            trouble = self.plan(self.connections)
            self.connections += 1
            if trouble is not None and trouble.kind == "refuse":
                self._count_harm()
                _reset(client)
                continue
            try:
                server = socket.create_connection(self._target)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._open |= {client, server}
            for way, source, sink in (("up", client, server), ("down", server, client)):
                mine = trouble if trouble is not None and trouble.way == way else None
                threading.Thread(target=self._pass_on, args=(way, source, sink, mine), daemon=True).start()

    def _count_harm(self) -> None:
        with self._lock:
            self.harmed += 1

    def _pass_on(self, way: str, source: socket.socket, sink: socket.socket, trouble: Trouble | None) -> None:
        passed = 0
        with suppress(OSError):
            while piece := source.recv(_PIECE):
                self.passes.wait()
                if trouble is not None and trouble.kind == "slow":
                    time.sleep(trouble.pause)
                elif trouble is not None and passed + len(piece) > trouble.after:
                    self._count_harm()
                    at = trouble.after - passed
                    if trouble.kind == "cut":
                        sink.sendall(piece[:at])
                        break
                    piece = piece[:at] + bytes([piece[at] ^ 0x10]) + piece[at + 1 :]
                    trouble = None
                sink.sendall(piece)
                passed += len(piece)
                with self._lock:
                    setattr(self, way, getattr(self, way) + len(piece))
        with self._lock:
            known = {source, sink} & self._open
            self._open -= known
        if trouble is not None and trouble.kind == "cut":
            for connection in known:
                _reset(connection)
        else:
            for connection in (source, sink):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for connection in known:
                connection.close()


@contextmanager
def troubled(target: str, plan: Plan) -> Iterator[Proxy]:
    """A proxy before `target` for the length of the block."""
    proxy = Proxy(target, plan)
    try:
        yield proxy
    finally:
        proxy.close()


def at_first(*troubles: Trouble | None) -> Plan:
    """The first connections meet these, the later ones none."""
    return lambda number: troubles[number] if number < len(troubles) else None


def seeded(seed: int, *, share: float, size: int) -> Plan:
    """Trouble for this share of all connections, somewhere in the first `size` bytes; the same for the same seed."""

    def plan(number: int) -> Trouble | None:
        chance = random.Random(seed * 1_000_003 + number)
        if chance.random() >= share:
            return None
        kind = chance.choice(("cut", "cut", "corrupt", "corrupt", "refuse", "slow"))
        way = chance.choice(("up", "down"))
        return Trouble(kind=kind, way=way, after=int(size * chance.random() ** 2), pause=0.001)  # type: ignore[arg-type]

    return plan


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread that waits for this connection's bytes would keep it open.
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
