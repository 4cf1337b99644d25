"""Functions of tensors whose kernels a GPU replays as a CUDA graph.

A step of a small network is a hundred kernels of a few microseconds each, and Python takes longer
to ask for them than a GPU to run them. A graph asks for all of them at once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture, in which libraries choose their kernels and memory
WORTH_IT = 100  # calls; a capture takes as long as some dozen


def replayed(function: Callable[..., Tensor], times: int) -> Callable[..., Tensor]:
    """`function`, to be called about `times` times: on a GPU, a CUDA graph after some calls.

    Its inputs are tensors of one shape; calls with other shapes run as they are. What else it reads
    and writes must stay where it is, and nothing in it may wait for the device. The output of a
    call is its own. To be used in a stream other than the default one, else it is just `function`.
    """
    if times < WORTH_IT or not torch.cuda.is_available():
        return function
    if torch.cuda.current_stream() == torch.cuda.default_stream():
        return function
    return _Replayed(function)


class _Replayed:
    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function, self.calls = function, 0
        self.shapes: tuple[torch.Size, ...] | None = None
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, ...] = ()
        self.output: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        shapes = tuple(tensor.shape for tensor in inputs)
        if self.shapes is None:
            self.shapes = shapes
        if not inputs[0].is_cuda or shapes != self.shapes:
            return self.function(*inputs)
        if self.graph is None:
            self.calls += 1
            if self.calls <= WARM_UP:
                return self.function(*inputs)
            self._capture(inputs)
        assert self.graph is not None
        assert self.output is not None
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.output.clone()

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        """Records the kernels, without running them; afterwards this has all of a graph or none."""
        own = tuple(tensor.clone() for tensor in inputs)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
                output = self.function(*own)
        except RuntimeError as error:
            # A capture that ran out of memory cannot be ended either, and that error hides why.
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from None
            raise
        self.graph, self.inputs, self.output = graph, own, output
