"""Build an image, check what is in it, and take its size. Prints `image_mb: <number>`; exits 2 without docker.

Image and container are named by $AUTORESEARCH_ID, so that [evaluate] cleanup finds them, also after a kill.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

NAME = f"autoresearch-{os.environ.get('AUTORESEARCH_ID', 'try')}".lower()


def docker(*args: str) -> bytes:
    done = subprocess.run(["docker", *args], capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"docker {args[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()[-1500:]}")
    return done.stdout


def need_docker() -> None:
    try:
        subprocess.run(["docker", "version"], capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        print(
            "docker is needed, and no docker daemon answers: start one, or set DOCKER_HOST in [evaluate] env", file=sys.stderr
        )
        sys.exit(2)


def check_files() -> None:
    """Every required file is in the image, and is the one of this folder where there is one."""
    docker("create", "--name", NAME, NAME, "none")  # made, never started
    required = [line.split() for line in Path("required.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    with tarfile.open(fileobj=io.BytesIO(docker("export", NAME))) as content:
        for inside, *here in required:
            try:
                found = content.extractfile(inside.lstrip("/"))
            except KeyError:
                raise SystemExit(f"{inside} is missing in the image") from None
            if here and (found is None or found.read() != Path(here[0]).read_bytes()):
                raise SystemExit(f"{inside} in the image differs from {here[0]}")


def main() -> None:
    need_docker()
    arguments = json.loads(Path("build.json").read_text(encoding="utf-8"))
    flags = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={str(value).lower()}")]
    docker("build", "--quiet", "--tag", NAME, *flags, ".")
    check_files()
    size = int(docker("image", "inspect", "--format", "{{.Size}}", NAME))
    docker("rm", "-f", NAME)
    docker("image", "rm", "-f", NAME)
    print(f"image_mb: {size / 1e6:.4f}")


if __name__ == "__main__":
    main()
