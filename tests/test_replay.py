"""Functions that a GPU replays; elsewhere they are the functions themselves."""

import dataclasses

import pytest
import torch
from test_stacked import QUICK, TRAININGS, close, synthetic

from sparseconv_lib.study import replay
from sparseconv_lib.study.replay import WORTH_IT, replayed
from sparseconv_lib.study.stacked import fit_stacked

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_without_a_gpu_a_function_stays_what_it_is():
    def function(x):
        return x

    assert replayed(function, times=WORTH_IT) is function


def test_memory_that_ends_in_a_capture_is_told_as_such(monkeypatch):
    class Graph:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):  # as torch's, where what was captured is not whole
            raise RuntimeError("operation failed due to a previous error during capture")

    def greedy(x):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    function = replay._Replayed(greedy)
    with pytest.raises(torch.OutOfMemoryError):
        function._capture((torch.zeros(1),))
    assert function.graph is None  # another call would try again, not replay half a graph
    function.function = lambda x: x
    with pytest.raises(RuntimeError, match="previous error"):
        function._capture((torch.zeros(1),))


@on_a_gpu
def test_what_is_called_a_few_times_or_in_the_default_stream_is_not_captured():
    def function(x):
        return x

    assert replayed(function, times=WORTH_IT) is function
    with torch.cuda.stream(torch.cuda.Stream()):
        assert replayed(function, times=WORTH_IT - 1) is function
        assert replayed(function, times=WORTH_IT) is not function


@on_a_gpu
def test_a_replayed_function_gives_what_it_gave_and_keeps_its_effects():
    total = torch.zeros(3, device="cuda")

    def function(x, y):
        total.add_(x)
        return x * y

    with torch.cuda.stream(torch.cuda.Stream()):
        call = replayed(function, times=WORTH_IT)
        outputs = []
        for i in range(10):
            x, y = (torch.full((3,), float(value), device="cuda") for value in (i, i + 1))
            outputs.append(call(x, y))
            if i == 6:  # another shape runs as it is
                assert torch.equal(call(x[:1].expand(1), y[:1]), (x * y)[:1])
        torch.cuda.synchronize()
        expected = torch.tensor([[float(i * (i + 1))] * 3 for i in range(10)])
        assert torch.equal(torch.stack(outputs).cpu(), expected)
        assert total[0].item() == sum(range(10)) + 6


@on_a_gpu
@pytest.mark.parametrize(
    "knobs",
    [
        dict(optimiser="sgd", drop_after=1),
        dict(optimiser="adam", batch_norm=False, drop_after=1),
        dict(evaluation="batch", batch_size=4),  # tests, too, are replayed
        dict(held_out=64, patience=1, epochs=5, learning_rates=(0.01,)),  # the stack shrinks
    ],
    ids=lambda knobs: "-".join(map(str, knobs)),
)
def test_a_stack_replayed_gives_what_it_gives_step_by_step(monkeypatch, knobs):
    protocol = dataclasses.replace(QUICK, **{"learning_rates": (1e-3,)} | knobs)
    asked = dict(device="cuda", reestimate=True)
    plain = fit_stacked(protocol, "SparseConvNet", TRAININGS, *synthetic(n=256), **asked)
    captures, inner = [], replay._Replayed._capture

    def capture(self, inputs):
        captures.append(inputs)
        inner(self, inputs)

    monkeypatch.setattr(replay, "WORTH_IT", 5)
    monkeypatch.setattr(replay._Replayed, "_capture", capture)
    quick = fit_stacked(protocol, "SparseConvNet", TRAININGS, *synthetic(n=256), **asked)
    assert captures
    for a, b in zip(plain, quick, strict=True):
        close(a, b)
