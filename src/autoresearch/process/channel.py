"""The channel of a sealed evaluation: a socket that one process of a job may connect to, once, and says its numbers over.

No descriptor of it is inherited, so no shell between holds it; and a socket cannot be opened again through
/proc/<pid>/fd. Imported by the supervisor alone: standard library only.
"""

from __future__ import annotations

import os
import socket
import struct

LIMIT = 1 << 20
_READY = b"ready\n"


def listen(path: str) -> int:
    """Listen at a path, however long; gives the descriptor.

    Raises:
        OSError: the folder is not there, or something lies at the path.
    """
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            os.chdir(os.path.dirname(path))  # a socket's path has 108 bytes at most
            listener.bind(os.path.basename(path))
        finally:
            os.fchdir(before)
            os.close(before)
        listener.listen(1)
        listener.setblocking(False)
        return listener.detach()


def take(fd: int, path: str, root: int) -> bool:
    """Let the first process of the job below `root` have the channel: from here on the descriptor is its connection.

    A process of nobody's is sent away; the path is gone before the process hears `ready`.
    """
    listener = socket.socket(fileno=fd)
    try:
        connection, _ = listener.accept()
    except OSError:
        listener.detach()
        return False
    with connection:
        if not _is_below(_peer(connection), root):
            listener.detach()
            return False
        forget(path)
        try:
            listener.shutdown(socket.SHUT_RDWR)  # a fork of ours may hold it open
        except OSError:
            pass
        connection.setblocking(False)
        os.dup2(connection.fileno(), listener.detach(), inheritable=False)
        try:
            connection.send(_READY)
        except OSError:
            pass  # it is gone: then it says nothing
    return True


def forget(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _peer(connection: socket.socket) -> int | None:
    """The process at the other end, as this one sees it; None where the system does not say."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid: int = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, option, 12))[0]
    return pid


def _is_below(pid: int | None, root: int) -> bool:
    """Whether a process descends from another; one that cannot be asked for counts."""
    if pid is None:
        return True
    while pid > 1 and pid != root:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rsplit(b")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            return False
    return pid == root
