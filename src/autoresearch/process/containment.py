"""How a job's processes are held together: a PID namespace where there is one, else a subreaper that hunts them down.

Imported by the supervisor alone, which runs without site-packages: standard library only, no other module of ours.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import signal
import socket
import struct
import sys
import time

_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
_NEWNS, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_CAPBSET_DROP = 1, 36, 24
_REACHING = (16, 17, 19, 21, 22, 25, 32, 33, 34, 38, 39, 40)
"""CAP_SYS_MODULE, RAWIO, PTRACE, ADMIN, BOOT, TIME; CAP_MAC_OVERRIDE, MAC_ADMIN; CAP_SYSLOG, PERFMON, BPF, CHECKPOINT_…"""
_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916

_linux = sys.platform == "linux"
# PyDLL keeps the interpreter lock over the call, so that the child of a raw clone wakes up holding it.
_libc = ctypes.PyDLL(None, use_errno=True) if _linux else None


def prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, value, 0, 0, 0)


def become_subreaper() -> None:
    """Orphans below this process become its children, not init's."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signum: int) -> None:
    """Deliver a signal here when the parent's (only) thread ends."""
    prctl(_PR_SET_PDEATHSIG, signum)


def spawn_init(namespaces: str) -> int:
    """Fork the init of a job; 0 in the child, as `os.fork`.

    Args:
        namespaces: `root` or `user` for a PID and a mount namespace of its own, `` for a plain fork.
    """
    if not namespaces:
        return os.fork()
    assert _libc is not None
    flags = _NEWPID | _NEWNS | (_NEWUSER if namespaces == "user" else 0)
    uid, gid = os.getuid(), os.getgid()
    pid: int = _libc.syscall(_CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    if pid == 0 and namespaces == "user":
        try:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        except OSError:
            os._exit(126)  # an exception here would go on in the parent's place
    return pid


def private_mounts(readonly: list[str]) -> None:
    """Inside a new mount namespace: a /proc of its own, and `readonly` paths that cannot be written.

    Raises:
        OSError: where the kernel refuses.
    """
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)
    for path in readonly:
        try:
            _mount(path, path, None, _MS_BIND | _MS_REC)
            _protect(path)
        except OSError:
            pass  # the manifest before and after still notices a change


def show(mounts: list[list[str]], *, namespaces: str) -> None:
    """Mount overlays and binds in this mount namespace alone, in their order.

    Raises:
        OSError: where the kernel or the file system cannot.
    """
    for kind, at, what, *more in mounts:
        if kind == "overlay":
            _mount("overlay", at, "overlay", 0, what + (",userxattr" if namespaces == "user" else ""))
            continue
        _mount(what, at, None, _MS_BIND | _MS_REC)
        if more == ["ro"]:
            _protect(at)


def hide(paths: list[str]) -> None:
    """Put nothing in place of some paths: an empty folder, an empty file.

    Raises:
        OSError: where the kernel refuses.
    """
    for path in paths:
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", _MS_RDONLY | _MS_NOSUID_NODEV_NOEXEC, "size=4k,mode=555")
        elif os.path.lexists(path):
            _mount("/dev/null", path, None, _MS_BIND)


def leave_network(addresses: list[str]) -> None:
    """Go into a network of one's own: a loopback that is up, with further addresses, and every port for everybody.

    Raises:
        OSError: where the kernel refuses.
    """
    assert _libc is not None
    if _libc.unshare(_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        _raise_interface(sock, b"lo")
        for i, address in enumerate(dict.fromkeys(addresses)):
            name = f"lo:{i}".encode()
            request = struct.pack("16sH2s4s8x", name, socket.AF_INET, b"\0\0", socket.inet_aton(address))
            fcntl.ioctl(sock, _SIOCSIFADDR, request)
            _raise_interface(sock, name)
    try:
        _write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
    except OSError:
        pass  # a kernel before 4.11: ports below 1024 stay closed


def _raise_interface(sock: socket.socket, name: bytes) -> None:
    fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", name, 1))  # IFF_UP


def lock_mounts() -> None:
    """What runs from here on cannot mount or unmount, root neither: what is read-only stays so; nor can it reach into
    processes that it did not start, or into the kernel."""
    for capability in _REACHING:
        prctl(_PR_CAPBSET_DROP, capability)


def _protect(path: str) -> None:
    kept = os.statvfs(path).f_flag & _MS_NOSUID_NODEV_NOEXEC  # a user namespace may not take these away
    _mount(None, path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | kept)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    assert _libc is not None
    encode = os.fsencode
    result = _libc.mount(
        encode(source) if source else None,
        encode(target),
        encode(kind) if kind else None,
        ctypes.c_ulong(flags),
        encode(options) if options else None,
    )
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), target)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def best_namespaces() -> str:
    """Try what this machine allows; gives `root`, `user` or ``."""
    if not _linux or _CLONE is None or os.environ.get("AUTORESEARCH_NAMESPACES") == "off":
        return ""
    for kind in ("root", "user") if os.getuid() == 0 else ("user",):
        try:
            pid = spawn_init(kind)
        except OSError:
            continue
        if pid == 0:
            try:
                private_mounts([])
                os._exit(0 if os.path.exists("/proc/1/stat") else 1)
            except BaseException:
                os._exit(1)
        if os.waitpid(pid, 0)[1] == 0:
            return kind
    return ""


def descendants(root: int) -> list[int]:
    """All processes below `root`, from /proc (Linux) or none."""
    children: dict[int, list[int]] = {}
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    for name in names:
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rsplit(b")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(name))
    found, stack = [], [root]
    while stack:
        for pid in children.get(stack.pop(), []):
            found.append(pid)
            stack.append(pid)
    return found


def marked(mark: str) -> list[int]:
    """All processes whose environment carries the job's marker."""
    needle = f"AUTORESEARCH_MARK={mark}".encode()
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if needle in file.read().split(b"\0"):
                        found.append(int(name))
            except OSError:
                continue
    return found


def hunt(root: int, mark: str, *, until: float) -> None:
    """Kill everything below `root` and everything with the marker, until nothing is left.

    Stops them first: what is stopped cannot fork while its brothers are killed.
    """
    seen: set[int] = set()
    while True:
        pids = set(descendants(root)) | set(marked(mark))
        for signum in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                _signal(pid, signum)
        seen |= pids
        _reap(seen)
        if not (set(descendants(root)) | set(marked(mark))) or time.monotonic() > until:
            return
        time.sleep(0.005)


def terminate(root: int, mark: str, *, spare: str = "") -> None:
    """Ask everything below `root` to end, but for programs of the name `spare`."""
    for pid in set(descendants(root)) | set(marked(mark)):
        if not spare or _name(pid) != spare:
            _signal(pid, signal.SIGTERM)


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def _signal(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except (ProcessLookupError, PermissionError):
        pass


def _reap(pids: set[int]) -> None:
    """Bury these as far as they are dead children of ours; never another child, whose status somebody waits for."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
