"""A cable to a server on this machine, that can be cut: a TCP proxy on 127.0.0.1."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Any

_LOOK = 0.05  # seconds between two looks at what is wanted
_CHUNK = 1 << 16


class Cable:
    """Passes connections on to `port` of 127.0.0.1 until it is cut.

    cut: connections are dropped and refused. unplug: they stay, and nothing passes any more, as
    where a machine in between has gone.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._servers: set[socket.socket] = set()
        self._guard = threading.RLock()
        self._ending = threading.Event()
        self._is_cut = self._unplugged = self._for_good = False
        self._word = b""
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, *_: Any) -> None:
        self._ending.set()
        self._thread.join(10)
        with self._guard:
            self._drop_all()
            self._listening.close()
            self._selector.close()

    def cut(self) -> None:
        """Drop every connection, and each new one at once."""
        with self._guard:
            self._is_cut = True
            self._drop_all()

    def unplug(self) -> None:
        """Let nothing through, without a word to either side."""
        with self._guard:
            self._unplugged = True

    def mend(self) -> None:
        """Pass connections on again. What was unplugged is dropped: it has missed something."""
        with self._guard:
            if self._unplugged:
                self._drop_all()
            self._is_cut = self._unplugged = self._for_good = False
            self._word = b""

    def cut_answers_with(self, word: bytes, *, for_good: bool = False) -> None:
        """Drop the connection in place of the server's next answer that holds this word, once;
        for_good: and every other connection from then on.
        """
        with self._guard:
            self._word, self._for_good = word, for_good

    def _run(self) -> None:
        while not self._ending.is_set():
            with self._guard:
                ready = [] if self._unplugged else self._selector.select(0)
                for key, _ in ready:
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._listening:
                        self._accept()
                    elif sock in self._peers:
                        self._pass_on(sock)
            if not ready:
                if self._unplugged:
                    self._ending.wait(_LOOK)
                else:
                    self._selector.select(_LOOK)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listening.accept()
            if self._is_cut:
                client.close()
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                return
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(10)
                self._selector.register(sock, selectors.EVENT_READ)
            self._peers[client], self._peers[server] = server, client
            self._servers.add(server)

    def _pass_on(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_CHUNK)
            if sock in self._servers and self._word and self._word in data:
                if self._for_good:
                    self.cut()
                else:
                    self._word = b""
                    self._drop(sock)
                return
            if not data:
                self._drop(sock)
                return
            self._peers[sock].sendall(data)
        except OSError:
            self._drop(sock)

    def _drop(self, sock: socket.socket) -> None:
        for one in (sock, self._peers.pop(sock, None)):
            if one is not None:
                self._peers.pop(one, None)
                self._servers.discard(one)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()

    def _drop_all(self) -> None:
        for sock in list(self._peers):
            if sock in self._peers:
                self._drop(sock)
