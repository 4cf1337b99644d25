"""Pairs of notebooks: the .py is read and edited, the .ipynb is what papermill and nbval run.

`make notebooks` (`python -m sparseconv_lib.study.notebooks`) writes each .ipynb anew from its .py
and executes it with the records, so that the outputs that nbval compares are those of today.
"""

import os
from pathlib import Path
from typing import Any

import nbformat

from sparseconv_lib.study.paths import NOTEBOOKS, QUICKLY


def cells_of(source: Path) -> nbformat.NotebookNode:
    """The notebook that a .py (py:percent) describes, without outputs.

    Cell ids count the cells: jupytext's own are random, and would differ every time.
    """
    import jupytext  # not on a machine that only trains

    notebook = jupytext.read(source)
    forget_machine(notebook)
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i:02}"
    return notebook


def forget_machine(notebook: Any) -> None:
    """Leaves out what Jupyter and papermill note of a machine and a run: paths, times, versions."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}


def update(source: Path) -> Path:
    """Writes and executes the .ipynb beside `source`; returns its path."""
    from nbclient import NotebookClient

    notebook = cells_of(source)
    os.environ["SPARSECONV_SOURCE"] = "records"
    NotebookClient(
        notebook,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        record_timing=False,
    ).execute()
    forget_machine(notebook)
    target = source.with_suffix(".ipynb")
    part = target.with_name(f"{target.stem}.part.ipynb")
    nbformat.write(notebook, part)
    os.replace(part, target)
    return target


def main() -> None:
    """Updates every notebook; stops where today's code has no probes yet.

    Else the outputs would mark all records as made by other code, and say so until the next time.
    """
    from sparseconv_lib.study import probe, provenance

    if QUICKLY:
        raise SystemExit("$SPARSECONV_QUICK is set, and notebooks show what is published: unset it")
    if provenance.code_identity() not in probe.load():
        raise SystemExit(
            "the code that trains has changed: run `sparseconv probe` first, which records whether "
            "it gives the same numbers"
        )
    for path in sorted(NOTEBOOKS.glob("*.py")):
        print(update(path).relative_to(NOTEBOOKS.parent))


if __name__ == "__main__":
    main()
