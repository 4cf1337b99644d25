"""Where a number came from: the code that decides it, the machine, the versions, the commit."""

import ast
import functools
import hashlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from sparseconv_lib.study.paths import ROOT

TRAINING = "sparseconv_lib.study.stacked"  # which imports all that decides a number


@functools.cache
def code_identity(module: str = TRAINING, root: Path = ROOT) -> str:
    """16 hex digits over the syntax trees of `module` and all of our modules that it imports.

    Comments, docstrings and layout do not count, nor does the version of Python that reads it:
    only what can change a number does.
    """
    digest = hashlib.sha256()
    for name in deciding_modules(module, root):
        tree = ast.parse(_file_of(name, root).read_text(encoding="utf-8"))
        digest.update(f"{name}\n{_dump(tree)}\n".encode())
    return digest.hexdigest()[:16]


def deciding_modules(module: str = TRAINING, root: Path = ROOT) -> list[str]:
    """`module` and every module of sparseconv_lib that it imports, directly or not, by name."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse(_file_of(name, root).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                raise ValueError(f"{name} imports relatively; write sparseconv_lib in full")
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            waiting += [n for n in names if n.startswith("sparseconv_lib.") and _exists(n, root)]
    return sorted(found)


def _file_of(module: str, root: Path) -> Path:
    path = root.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exists(module: str, root: Path) -> bool:
    return _file_of(module, root).is_file()


def _dump(node: object) -> str:
    # Not ast.dump: what it writes for absent fields differs between versions of Python.
    if isinstance(node, ast.AST):
        fields = [
            (name, value)
            for name, value in ast.iter_fields(node)
            if value not in (None, []) and name not in ("ctx", "kind", "type_comment")
        ]
        body = getattr(node, "body", [])
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            fields = [(n, body[1:] if n == "body" else value) for n, value in fields]
        return f"{type(node).__name__}({','.join(f'{n}={_dump(v)}' for n, v in fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    return repr(node)


def commit() -> str:
    """$SPARSECONV_COMMIT, else git's HEAD with "+changes" if the code differs, else "unknown"."""
    if given := os.environ.get("SPARSECONV_COMMIT"):
        return given
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", "sparseconv_lib", "notebooks")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+changes" if changed else "")


def _git(*arguments: str) -> str:
    run = subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return run.stdout.strip()


@functools.cache
def device_name(device: str) -> str:
    """A device in words: the model of the GPU, or of the processor and how many cores it has."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """Versions of what a training runs on."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    if torch.version.cuda and torch.cuda.is_available():
        found["cuda"] = torch.version.cuda
    found["numpy"] = metadata.version("numpy")
    return found
