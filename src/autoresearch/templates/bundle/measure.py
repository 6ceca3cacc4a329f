"""Build, check that the bundle still works, and add up its gzipped size. Prints `gzip_bytes: <number>`."""

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

BUILD = ["npm", "run", "--silent", "build"] if Path("package.json").is_file() else [sys.executable, "bundle.py"]
OUT = Path("dist")


def run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)  # what an earlier build left is not counted
    run(BUILD)
    files = sorted(path for path in OUT.rglob("*") if path.is_file() and path.suffix != ".map")
    if not files:
        raise SystemExit(f"{' '.join(BUILD)} left nothing in {OUT}/")
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    if Path("exports.txt").is_file():
        missing = [name for name in Path("exports.txt").read_text().split() if not re.search(rf"\b{re.escape(name)}\b", text)]
        if missing:
            raise SystemExit(f"the bundle has lost {', '.join(missing)}")
    if Path("smoke.js").is_file() and shutil.which("node"):
        run(["node", "smoke.js"])
    # without a time stamp the same files always give the same number
    print(f"gzip_bytes: {sum(len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in files)}")


if __name__ == "__main__":
    main()
