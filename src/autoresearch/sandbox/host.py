"""What ordinary programs need of this machine to run at all: system folders, interpreters, names, certificates.

Nothing of the user's own is in it: not his home folder, not his checkout, no other project.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autoresearch.records import Network
from autoresearch.sandbox.endpoints import names

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
_ETC = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "locale.alias", "locale.conf"),
    *("ssl/certs", "ssl/openssl.cnf", "ssl/cert.pem", "pki/tls/certs", "pki/tls/cert.pem", "pki/tls/openssl.cnf"),
    *("pki/ca-trust/extracted", "ca-certificates", "ca-certificates.conf", "crypto-policies", "gnutls", "mime.types", "magic"),
    *("fonts", "services", "protocols", "rpc", "python3", "python3.11", "python3.12", "python3.13", "java", "java-17-openjdk"),
    *("java-21-openjdk", "maven", "ImageMagick-6", "matplotlibrc", "OpenCL", "vulkan", "glvnd", "R", "perl", "inputrc"),
    *("debian_version", "os-release", "lsb-release", "redhat-release", "alpine-release", "machine-info", "postgresql-common"),
)
_NETWORK = ("resolv.conf", "hosts", "host.conf", "nsswitch.conf", "gai.conf", "netconfig")
_MANAGERS = (".pyenv", ".rbenv", ".nodenv", ".asdf", ".volta", ".nvm", ".sdkman", ".fnm", ".jenv", ".juliaup", ".ghcup")
"""Version managers in a home folder: programs found there need their whole folder."""
_PARTS = ("lib", "lib64", "include", "libexec", "conda-meta", "pyvenv.cfg")
_LINKS = 2000  # looked at in a folder that is shown


@dataclass(frozen=True, slots=True)
class Host:
    """The machine as jobs see it.

    Attributes:
        shown: existing files and folders, read-only, each at its own path.
        folder: where copies of what programs need of `/etc` lie: one folder for each kind of network.
        barred: what must not be shown, nor anything that holds it.
    """

    shown: tuple[Path, ...]
    folder: Path
    barred: tuple[Path, ...] = ()

    @classmethod
    def make(cls, folder: Path, *, programs: Iterable[str] = (), never: Sequence[Path] = ()) -> Host:
        """Look at this machine.

        Args:
            folder: where made-up files are written; nothing that is shut in may write there.
            programs: further interpreters and programs by absolute path, found with what belongs to them.
            never: what must not be shown, nor anything that holds it: the checkout, the caches, the home folder.
        """
        wanted = [*map(Path, SYSTEM), *_search_path(os.environ)]
        wanted += [place for program in (sys.executable, *programs) for place in belonging(program)]
        wanted += [Path(__file__).parents[1]]  # for evaluators that use our library
        home = Path(os.path.expanduser("~"))
        barred = [p.resolve() for p in (home, home / ".local", home / ".config", home / ".cache", Path("/"), *never)]
        wanted += [p for p in _on_python_path(wanted) if not any(p.is_relative_to(bar) for bar in never)]
        return cls(tuple(_outermost(_open(wanted, barred))), folder, tuple(barred))

    def around(self, programs: Iterable[str]) -> list[Path]:
        """Further programs by absolute path, with what belongs to them."""
        return _open([place for program in programs for place in belonging(program)], self.barred)

    def etc(self, network: Network) -> Path:
        """A folder to be shown as `/etc`: what programs need of the machine's, made-up users, the hosts that are reached."""
        hosts = "" if isinstance(network, str) else names(network)
        texts = dict(_names()) if network == "on" else {**dict(_names()), **dict(_hosts(hosts))}
        wanted = (*_ETC, *_NETWORK) if network == "on" else _ETC
        stamp = hashlib.sha256(repr((texts, [_stamp(name) for name in wanted])).encode()).hexdigest()[:16]
        made = self.folder / f"etc-{stamp}"
        if not made.is_dir():
            part = Path(tempfile.mkdtemp(dir=_made(self.folder)))
            for name in wanted:
                _copy(Path("/etc") / name, part / name)
            for name, text in texts.items():
                (part / name).write_text(text)
            part.chmod(0o755)
            part.rename(made)
        return made


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _stamp(name: str) -> tuple[int, int, int]:
    try:
        s = os.lstat(f"/etc/{name}")
    except OSError:
        return (0, 0, 0)
    return (s.st_ino, s.st_mtime_ns, s.st_ctime_ns)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder with its links as links; what cannot be read is left out."""
    if not os.path.exists(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)  # of a link what it leads to
    except (OSError, shutil.Error):
        pass


def _is_system(path: Path) -> bool:
    """Whether a path lies in a system folder; `/usr2` and `/library` do not."""
    return f"{path}/".startswith(tuple(f"{folder}/" for folder in SYSTEM))


def _open(wanted: Sequence[Path], barred: Sequence[Path]) -> list[Path]:
    """What is there and may be shown, each under its own name and its real one."""
    named = [*wanted, *(p.resolve() for p in wanted if not _is_system(p))]
    return [p for p in dict.fromkeys(named) if os.path.lexists(p) and not _holds(p, barred)]


def _holds(path: Path, barred: Sequence[Path]) -> bool:
    """Whether a path is one that must not be shown, or has one in it."""
    real = path.resolve()
    return any(bar == real or bar.is_relative_to(real) for bar in barred)


def _outermost(paths: Sequence[Path]) -> Iterator[Path]:
    """Leave out what lies in another one; a link is shown as what it leads to, so it never holds anything."""
    folders = {p for p in paths if os.path.isdir(p) and not os.path.islink(p)}
    return (p for p in paths if folders.isdisjoint(p.parents))


def _search_path(environ: os._Environ[str]) -> Iterator[Path]:
    """Folders of PATH and LD_LIBRARY_PATH that are no system folders, with the installations they belong to."""
    for name in ("PATH", "LD_LIBRARY_PATH", "CUDA_HOME"):
        for entry in environ.get(name, "").split(":"):
            folder = Path(entry)
            if entry and folder.is_absolute() and os.path.isdir(folder) and not _is_system(folder):
                yield folder
                yield from _installation(folder)
                yield from _led_to(folder)


def _installation(folder: Path) -> Iterator[Path]:
    """What a folder of programs is a part of: a version manager, a prefix with libraries."""
    home = Path(os.path.expanduser("~"))
    for parent in folder.parents:
        if parent.parent == home and parent.name in _MANAGERS:
            yield parent
    prefix = folder.parent
    if folder.name in ("bin", "sbin") and any(os.path.exists(prefix / part) for part in _PARTS):
        yield prefix


def _led_to(folder: Path) -> Iterator[Path]:
    """What links in a folder of programs lead to, with what belongs to it."""
    try:
        entries = sorted(os.scandir(folder), key=lambda e: e.name)[:_LINKS]
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink():
            real = Path(os.path.realpath(entry.path))
            if os.path.exists(real) and not _is_system(real):
                yield from belonging(str(real))


def belonging(program: str) -> Iterator[Path]:
    """A program with its installation: at each step of the links that lead to it, of a virtual environment its base's, and of a
    script that of what runs it."""
    path, seen = Path(program), 0
    while path.is_absolute() and seen < 20:
        if not _is_system(path):
            yield path
            yield from _installation(path.parent)
            yield from _packages(path)
            yield from _base(path.parent.parent)
        following = path.parent / os.readlink(path) if os.path.islink(path) else _interpreter(path)
        path, seen = Path(os.path.normpath(following)), seen + 1


def _packages(path: Path) -> Iterator[Path]:
    """Of a program of a Node package: all packages that were installed with it."""
    outermost = next((folder for folder in reversed(path.parents) if folder.name == "node_modules"), None)
    if outermost is not None:
        yield outermost


def _interpreter(script: Path) -> str:
    """What a script's first line says that it is run by, `` for any other file."""
    if not os.path.isfile(script):
        return ""
    try:
        with open(script, "rb") as file:
            first = file.readline(256)
    except OSError:
        return ""
    words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
    return words[0] if words else ""


def _on_python_path(places: Sequence[Path]) -> Iterator[Path]:
    """What `.pth` files of the Python environments among these put on the path."""
    for place in dict.fromkeys(places):
        for file in sorted(place.glob("lib/python*/site-packages/*.pth")) if os.path.isdir(place / "bin") else ():
            for row in file.read_text(errors="replace").splitlines():
                if row.startswith("/") and os.path.isdir(row.strip()):
                    yield Path(row.strip()).resolve()


def _base(environment: Path) -> Iterator[Path]:
    """Of a virtual environment: the installation it was made from."""
    try:
        rows = (environment / "pyvenv.cfg").read_text(errors="replace").splitlines()
    except OSError:
        return
    for row in rows:
        key, _, value = row.partition("=")
        if key.strip() == "home" and Path(value.strip()).is_absolute():
            yield from _installation(Path(value.strip()))


def leading_out(folder: Path) -> Iterator[Path]:
    """Where links in a folder's upper levels lead, outside it: data on another disk, an environment's interpreter."""
    real, looked = folder.resolve(), 0
    stack = [(real, 0)] if os.path.isdir(real) else []
    while stack and looked < _LINKS:
        place, depth = stack.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        for entry in entries[: _LINKS - looked]:
            looked += 1
            if entry.is_symlink():
                target = Path(os.path.realpath(entry.path))
                if os.path.exists(target) and not target.is_relative_to(real) and not _is_system(target):
                    yield target
            elif depth < 2 and entry.is_dir(follow_symlinks=False):
                stack.append((Path(entry.path), depth + 1))
    yield from _base(real)
    yield from (p for p in belonging(str(real / "bin" / "python")) if not p.is_relative_to(real))


def _names() -> Iterator[tuple[str, str]]:
    """Users and groups: root, this one, nobody."""
    uid, gid = os.getuid(), os.getgid()
    users = {0: "root:x:0:0:root:/root:/bin/sh", 65534: "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin"}
    users.setdefault(uid, f"user:x:{uid}:{gid}:user:/tmp:/bin/sh")
    groups = {0: "root:x:0:", 5: "tty:x:5:", 65534: "nogroup:x:65534:"}
    groups.setdefault(gid, f"user:x:{gid}:")
    yield "passwd", "\n".join(users.values()) + "\n"
    yield "group", "\n".join(groups.values()) + "\n"


def _hosts(more: str) -> Iterator[tuple[str, str]]:
    """Names of hosts, where nothing outside is asked for them."""
    yield "hosts", f"127.0.0.1 localhost\n::1 localhost\n{more}"
    yield "nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"
