"""Writes requirements.lock: the files that `make setup` may install, each by its hash.

    make lock

asks pip what it would install of constraints.txt for this interpreter on this machine, and notes
the hash of every file. `make setup` installs by these hashes where `fits` says so, and elsewhere by
the versions in constraints.txt alone; so does `make setup LOCK=`.

PyTorch and torchvision are not in the file. They come in builds of one version, for the CPU alone
and with CUDA, each with other files and other packages that it needs, and which of them is offered
depends on the machine's package index: `make setup` leaves that choice to pip.
"""

import json
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
MADE_FOR = ("Linux", "x86_64", "CPython", "3.11")
HEAD = f"""\
# The files that `make setup` installs on {" ".join(MADE_FOR)}, by their hashes.
# Written by `make lock` from pyproject.toml and constraints.txt, which alone decides elsewhere.
"""
BUILD = "setuptools>=77"  # what builds our own package
UNLOCKED = {"torch", "torchvision"}


def here() -> tuple[str, str, str, str]:
    version = ".".join(platform.python_version_tuple()[:2])
    return platform.system(), platform.machine(), platform.python_implementation(), version


def read(path: Path = LOCK) -> dict[str, tuple[str, list[str]]]:
    """Normalised name -> (version, its hashes in the order of the file)."""
    text = path.read_text("utf-8").replace("\\\n", " ") if path.exists() else ""
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, version = line.split()[0].split("==")
            found[name] = (version, re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def write(report: dict, path: Path = LOCK) -> None:
    """The lock file that a report of pip (`--report`) gives."""
    lines = [HEAD]
    for item in sorted(report["install"], key=lambda item: normal(item["metadata"]["name"])):
        name = normal(item["metadata"]["name"])
        if name == "sparseconv-lib" or name in UNLOCKED:
            continue
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={item['metadata']['version']} \\\n    --hash=sha256:{digest}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    if sys.argv[1:] == ["fits"]:
        sys.exit(0 if here() == MADE_FOR else 1)
    if here() != MADE_FOR:
        sys.exit(f"the lock is made on {' '.join(MADE_FOR)}; this is {' '.join(here())}")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed",
             "--only-binary=:all:", "--report", report, "-c", "constraints.txt",
             *sys.argv[1:], f"{ROOT}[study,book,test]", BUILD],
            cwd=ROOT, check=True,
        )  # fmt: skip
        write(json.loads(report.read_text("utf-8")))
    print(f"{len(read())} packages in {LOCK.name}")


if __name__ == "__main__":
    main()
