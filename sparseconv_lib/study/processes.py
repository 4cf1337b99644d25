"""Worker processes that end with the process that started them."""

import os
import threading
import time


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def end_with_parent() -> None:
    """To be called in a worker: ends it within a second of its parent's death.

    A pool's workers outlive a parent that was killed: they wait for work that nobody will send.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
