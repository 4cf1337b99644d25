"""Worker processes that end with the process that started them."""

import multiprocessing
import os
import threading


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Lets processes that start from now on keep the memory they free; they inherit it.

    Else glibc returns every large tensor to the system, which clears the pages of the next one
    before it is used. Other systems do not read these variables.
    """
    os.environ.setdefault("MALLOC_MMAP_MAX_", "0")
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 40))


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
