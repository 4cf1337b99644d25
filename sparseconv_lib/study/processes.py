"""Worker processes that end with the process that started them."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


_KEEP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


@contextmanager
def children_keep_freed_memory() -> Iterator[None]:
    """Lets the processes that are started inside keep the memory they free.

    Else glibc returns every large tensor to the system, which clears the pages of the next one
    before it is used. It reads these variables when a process starts, so this one is not changed;
    other systems do not read them. What the user has set stays as it is.
    """
    ours = {name: value for name, value in _KEEP.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def keeps_freed_memory() -> bool:
    """Whether this process was started so."""
    return all(name in os.environ for name in _KEEP)


def end_children() -> None:
    """Ends this process's workers now, whatever they are doing."""
    for child in multiprocessing.active_children():
        child.terminate()


def end_with_parent() -> None:
    """To be called in a worker: ends it when its parent ends.

    A pool's workers outlive a parent that was killed: they wait for work that nobody will send.
    """
    parent = multiprocessing.parent_process()
    if parent is None:  # not a worker
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
