"""What needs no network: one image for all, or observed pixels interpolated; scored alike.

A network's reconstruction counts only if it beats the nearest observed pixel.
"""

import time

import numpy as np
import torch

from sparseconv_lib.study.images import Images, draw_masks, in_units, scaled
from sparseconv_lib.study.interpolation import best_sigma, gaussian, linear, nearest
from sparseconv_lib.study.protocol import BASELINES, Protocol, check_sparsity
from sparseconv_lib.study.training import Outcome

TUNED_ON = 200  # training images on which the width of the Gaussian is chosen


def evaluate(
    protocol: Protocol,
    method: str,
    seed: int,
    train: Images,
    test: Images,
    test_sparsities: tuple[float, ...],
) -> Outcome:
    """The errors of one of `BASELINES` on the test images, under the masks networks are given."""
    started = time.perf_counter()
    outcome = Outcome()
    train, test, unit = in_units(protocol, train, test)
    for q in map(check_sparsity, test_sparsities):
        masks = draw_masks(protocol, test, q, seed, "test")
        filled = complete(protocol, method, seed, train, test, masks, q)
        values, mask, known = _arrays(protocol, test, masks)
        error = np.abs(filled - np.nan_to_num(values))
        outcome.error[q] = unit * float(error[known].mean())
        if (missing := known & ~mask).any():
            outcome.error_missing[q] = unit * float(error[missing].mean())
    outcome.seconds = time.perf_counter() - started
    return outcome


def complete(
    protocol: Protocol,
    method: str,
    seed: int,
    train: Images,
    images: Images,
    masks: torch.Tensor,
    sparsity: float,
) -> np.ndarray:
    """Whole images (N, H, W) from the observed pixels of `images`, in a network's units.

    constant: each pixel's median over the training images, which has the least absolute error.
    gaussian: its width is chosen for each sparsity, on training images. An image of which nothing
    is observed is 0, as networks see it. Raises ValueError for another method.
    """
    values, mask, _ = _arrays(protocol, images, masks)
    if method == "constant":
        median = scaled(train, protocol)[:, 0].nanmedian(0).values
        return np.broadcast_to(median.nan_to_num(0.0).cpu().numpy(), values.shape)
    if method == "nearest":
        filled = nearest(values, mask)
    elif method == "linear":
        filled = linear(values, mask)
    elif method == "gaussian":
        few = train[:TUNED_ON]
        drawn = draw_masks(protocol, few, sparsity, seed, "training epoch 0")
        target, few_mask, known = _arrays(protocol, few, drawn)
        filled = gaussian(values, mask, best_sigma(target, few_mask, known))
    else:
        raise ValueError(f"method is {method!r}; choose one of {', '.join(BASELINES)}")
    return np.nan_to_num(filled)


def _arrays(
    protocol: Protocol, images: Images, masks: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (N, H, W), which of them are observed, and which are known at all."""
    values = scaled(images, protocol)[:, 0]
    known = ~torch.isnan(values)
    mask = masks[:, 0] & known
    return values.cpu().numpy(), mask.cpu().numpy(), known.cpu().numpy()
