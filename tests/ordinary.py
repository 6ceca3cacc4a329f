"""Tests run once more as nobody, with interpreter and sources mounted where nobody can read them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run_as_nobody(files: str, chosen: str = "") -> None:
    """Run test files as an ordinary user; skips where no private mounts can be made.

    Args:
        files: their paths from the repository's top, with spaces between.
        chosen: further arguments of pytest, as a shell reads them.
    """
    top = Path(tempfile.mkdtemp())
    try:
        top.chmod(0o755)
        places = {"python": Path(sys.base_prefix), "checkout": ROOT, "site": Path(pytest.__file__).parents[1]}
        for name in places:
            (top / name).mkdir()
        (top / "home").mkdir(mode=0o777)
        (top / "home").chmod(0o777)
        mounts = " && ".join(f'mount --bind "{place}" "{top / name}"' for name, place in places.items())
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        tests = f"-m pytest -q -p no:cacheprovider --basetemp={top}/home/tmp {files}"
        user = f'setpriv --reuid 65534 --regid 65534 --clear-groups "{top}/python/bin/{version}" {tests} {chosen}'
        env = {
            "PATH": os.environ["PATH"],
            "HOME": f"{top}/home",
            "TMPDIR": f"{top}/home",
            "LD_LIBRARY_PATH": f"{top}/python/lib",
            "PYTHONPATH": f"{top}/checkout/src:{top}/site",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        script = f"{mounts} || exit 99; cd {top}/checkout; exec {user}"
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=env, capture_output=True, text=True, timeout=600)
        if done.returncode == 99 or "unshare failed" in done.stderr:
            pytest.skip(f"no private mounts here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    finally:
        shutil.rmtree(top)
