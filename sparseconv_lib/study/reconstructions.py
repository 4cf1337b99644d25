"""One test image, what was observed of it, and what became of that: a file beside a record.

From it the chapter draws reconstructions without data or weights.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparseconv_lib.study import baselines
from sparseconv_lib.study.images import Images, draw_masks, in_units, prepare, scaled
from sparseconv_lib.study.protocol import BASELINES, Protocol
from sparseconv_lib.study.records import Key
from sparseconv_lib.study.training import build

SHOWN = (0.95, 0.5)  # test sparsities


@dataclass(frozen=True)
class Reconstruction:
    """One test sparsity. truth and answer: float (H, W), NaN where no value is known; mask: bool.

    Values are grey levels, black to white being 1, or a map's deviation from its mean, in units
    of its standard deviation.
    """

    truth: np.ndarray
    mask: np.ndarray
    answer: np.ndarray


def leave(
    path: Path,
    key: Key,
    protocol: Protocol,
    weights: dict[str, Tensor],
    train: Images,
    test: Images,
) -> None:
    """Writes the file for the first test image, at each sparsity of `SHOWN`."""
    train, test, _ = in_units(protocol, train, test)
    one = test[:1]
    kept = {"truth": scaled(one, protocol)[0, 0].numpy().astype(np.float16)}
    for q in SHOWN:
        mask = draw_masks(protocol, one, q, key.seed, "test")
        if key.network in BASELINES:
            answer = baselines.complete(protocol, key.network, key.seed, train, one, mask, q)[0]
        else:
            net = build(protocol, key.network, key.seed)
            net.load_state_dict(weights)
            net.eval()
            with torch.no_grad():
                answer = net(*prepare(one, mask, protocol, q)).view(mask.shape)[0, 0].numpy()
        kept |= {f"mask_{q:g}": mask[0, 0].numpy(), f"answer_{q:g}": answer.astype(np.float16)}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **kept)


def read(path: Path) -> dict[float, Reconstruction]:
    """Test sparsity -> what stands in `path`; empty where there is no such file."""
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        truth = file["truth"].astype(np.float32)
        return {
            q: Reconstruction(truth, file[f"mask_{q:g}"], file[f"answer_{q:g}"].astype(np.float32))
            for q in SHOWN
        }
