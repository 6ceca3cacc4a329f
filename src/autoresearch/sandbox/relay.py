"""The few connections that a job without network may make, carried over unix sockets. A program of its own, in two roles.

    python -I -S relay.py outside FOLDER host:port …                      listens on FOLDER/0, FOLDER/1 …, connects out
    python -I -S relay.py inside FOLDER address:port … -- program …       listens there, connects to FOLDER/0 …, starts it

Standard library only. The addresses are there already; see `process/containment.py`.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
import time

_PATIENCE_S = 5.0


def outside(folder: str, endpoints: list[str]) -> None:
    """Carry what comes to each socket to its endpoint, for ever."""
    servers = []
    for i, endpoint in enumerate(endpoints):
        server = socket.socket(socket.AF_UNIX)
        path = f"{folder}/{i}"
        if os.path.lexists(path):
            os.unlink(path)
        os.chdir(folder)  # a path of a socket has room for 107 bytes
        server.bind(str(i))
        server.listen(64)
        servers.append((server, (endpoint.rpartition(":")[0], int(endpoint.rpartition(":")[2]))))
    _serve([(server, lambda at=at: socket.create_connection(at, timeout=30)) for server, at in servers])


def inside(folder: str, endpoints: list[str], argv: list[str]) -> None:
    """Listen in the job's own network, and become its program; a process beside it carries."""
    servers = []
    for endpoint in endpoints:
        host, _, port = endpoint.rpartition(":")
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, int(port)))
        server.listen(64)
        servers.append(server)
    if os.fork() == 0:
        os.setsid()
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        _serve([(server, lambda i=i: _connect(str(i))) for i, server in enumerate(servers)])
    for server in servers:
        server.close()
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        os._exit(127)


def _connect(name: str) -> socket.socket:
    """Connect to the relay outside, which may not have come up yet."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(name)
            return sock
        except OSError:
            sock.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _serve(ways: list) -> None:  # type: ignore[type-arg]
    """Accept for ever; a thread carries each connection."""
    accepting = selectors.DefaultSelector()
    for server, connect in ways:
        accepting.register(server, selectors.EVENT_READ, connect)
    while True:
        for key, _ in accepting.select():
            near, _ = key.fileobj.accept()  # type: ignore[union-attr]
            threading.Thread(target=_carry, args=(near, key.data), daemon=True).start()


def _carry(near: socket.socket, connect) -> None:  # type: ignore[no-untyped-def]
    try:
        far = connect()
    except OSError:
        near.close()
        return
    far.settimeout(None)
    back = threading.Thread(target=_pump, args=(far, near), daemon=True)
    back.start()
    _pump(near, far)
    back.join()
    near.close()
    far.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """One direction, to its end."""
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def main() -> None:
    role, folder, *rest = sys.argv[1:]
    if role == "outside":
        outside(folder, rest)
    else:
        end = rest.index("--")
        inside(folder, rest[:end], rest[end + 1 :])


if __name__ == "__main__":
    main()
