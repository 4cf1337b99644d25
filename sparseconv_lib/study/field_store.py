"""Random fields kept on a GPU, so that each is drawn and copied once for all that use it.

All networks and sparsities of a seed share its fields, and a CPU takes longer to draw that of an
epoch than a GPU to train on it. So fields are drawn in threads, ahead of their use.
"""

import concurrent.futures
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping

import torch
from torch import Tensor

from sparseconv_lib.study.processes import usable_cores

SHARE = 0.25  # of the GPU's memory


class FieldStore:
    """Fields by their key, the last used of them as many as fit into `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pool = concurrent.futures.ThreadPoolExecutor(usable_cores())
        self._drawn: dict[Hashable, concurrent.futures.Future[Tensor]] = {}
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()

    def ahead(self, draws: Mapping[Hashable, Callable[[], Tensor]]) -> None:
        """Begins to draw those that are not there: one a core, more would only fill memory."""
        missing = [key for key in draws if key not in self._kept and key not in self._drawn]
        for key in missing[: max(usable_cores() - len(self._drawn), 0)]:
            self._drawn[key] = self._pool.submit(draws[key])

    def get(self, key: Hashable, draw: Callable[[], Tensor], device: torch.device) -> Tensor:
        """The field of that key, drawn now if it is not there; not to be written to."""
        if key not in self._kept:
            drawn = self._drawn.pop(key, None) or self._pool.submit(draw)
            self._kept[key] = drawn.result().to(device)
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and self.bytes > self.limit:
            self._kept.popitem(last=False)
        return self._kept[key]

    @property
    def bytes(self) -> int:
        """What the kept fields take."""
        return sum(field.nbytes for field in self._kept.values())

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
        for drawn in self._drawn.values():
            drawn.cancel()
        self._drawn.clear()


_stores: dict[torch.device, FieldStore] = {}


def store_of(device: torch.device) -> FieldStore:
    """The one store of a GPU."""
    if device not in _stores:
        memory = torch.cuda.get_device_properties(device).total_memory
        _stores[device] = FieldStore(int(SHARE * memory))
    return _stores[device]


def clear() -> None:
    """Empties every store."""
    for store in _stores.values():
        store.clear()
