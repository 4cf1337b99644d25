"""How the mask fills up: what is calculated against enumeration, loops and measurement."""

import itertools

import pytest
import torch

from sparseconv_lib.masks import bernoulli_field, observed
from sparseconv_lib.networks import TABLE_1, TABLE_2, Architecture
from sparseconv_lib.study import mask_spread

UPDATES = ("keep", "dilate")
TINY = Architecture(1, 4, ((3, 2), (3, 2)), (2,))  # 4x4, 2x2 after the first pooling, then 1x1


def walked(mask, update):
    """The masks of TINY at each stage, by loops over windows: lists of rows of 0 and 1."""
    stages = [mask]
    for _ in TINY.convolutions:
        size = len(mask)
        if update == "dilate":
            mask = [
                [
                    max(
                        mask[u][v]
                        for u in range(max(i - 1, 0), min(i + 2, size))
                        for v in range(max(j - 1, 0), min(j + 2, size))
                    )
                    for j in range(size)
                ]
                for i in range(size)
            ]
        stages.append(mask)
        mask = [
            [max(mask[2 * i + a][2 * j + b] for a in (0, 1) for b in (0, 1))
             for j in range(size // 2)]
            for i in range(size // 2)
        ]  # fmt: skip
        stages.append(mask)
    return stages


@pytest.mark.parametrize("update", UPDATES)
def test_calculated_is_the_mean_over_every_mask_there_is(update):
    """65,536 masks of 4 x 4 pixels, each with its probability."""
    p = 0.7
    totals = [0.0] * 5
    for bits in itertools.product((0, 1), repeat=16):
        chance = (1 - p) ** sum(bits) * p ** (16 - sum(bits))
        for i, stage in enumerate(
            walked([list(bits[4 * r : 4 * r + 4]) for r in range(4)], update)
        ):
            flat = list(itertools.chain(*stage))
            totals[i] += chance * sum(flat) / len(flat)
    assert mask_spread.calculated(TINY, update, p) == pytest.approx(totals, abs=1e-12)


@pytest.mark.parametrize("update", UPDATES)
def test_measured_is_a_walk_over_windows(update):
    generator = torch.Generator().manual_seed(1)
    masks = observed(bernoulli_field(20, 4, 4, generator), 0.8)
    found = mask_spread.measured(TINY, update, masks)
    walks = [walked(mask[0].long().tolist(), update) for mask in masks]
    for i, share in enumerate(found):
        stage = torch.tensor([walk[i] for walk in walks], dtype=torch.float32)
        assert share == pytest.approx(stage.mean().item())


@pytest.mark.parametrize("architecture", [TABLE_1, TABLE_2])
@pytest.mark.parametrize("update", UPDATES)
def test_stages_have_the_sizes_of_the_network(architecture, update):
    sides = [architecture.size]
    for _ in architecture.convolutions:
        sides += [sides[-1], sides[-1] // 2]
    seen = mask_spread.seen_along_a_side(architecture, update)
    assert [len(stage) for stage in seen] == sides
    assert len(mask_spread.stages(architecture)) == len(sides)
    assert all(0 <= a <= b < architecture.size for stage in seen for a, b in stage)


def test_what_facts_say_of_the_source():
    """Calculated elsewhere, for the first network: the share that enters its second layer."""
    for p, kept, dilated in ((0.8, 0.59, 1.00), (0.9, 0.34, 0.98), (0.95, 0.19, 0.84)):
        assert mask_spread.calculated(TABLE_1, "keep", p)[2] == pytest.approx(kept, abs=0.005)
        # Those numbers leave out the border, where a window sees fewer pixels.
        first, last = mask_spread.seen_along_a_side(TABLE_1, "dilate")[2][7]
        assert 1 - p ** (last - first + 1) ** 2 == pytest.approx(dilated, abs=0.005)
        assert mask_spread.calculated(TABLE_1, "dilate", p)[2] < dilated + 0.005


def test_the_ends():
    assert mask_spread.calculated(TABLE_1, "keep", 0.0) == [1.0] * 5
    for p, update in itertools.product((0.3, 0.9), UPDATES):
        shares = mask_spread.calculated(TABLE_1, update, p)
        assert shares[0] == pytest.approx(1 - p) and shares == sorted(shares)
