"""What a network is asked for, and how its answers are scored: a class, or every pixel's value.

An objective gives `targets(images, protocol)`, a differentiable `loss(outputs, targets)`, and
`score(outputs, targets, masks)`, columns of numbers that are summed over images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sparseconv_lib.study.images import Images, scaled
from sparseconv_lib.study.protocol import Protocol


class Classify:
    """The class of each image, by cross-entropy in nats. Scores: whether it was found."""

    def targets(self, images: Images, protocol: Protocol) -> Tensor:
        """Labels: int64 (N,)."""
        return images.labels

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of logits (N, classes)."""
        return F.cross_entropy(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor, masks: Tensor) -> Tensor:
        """bool (N,): whether each image was classified correctly."""
        return outputs.argmax(1) == targets


class Reconstruct:
    """Every pixel's value, by the squared error over the known ones. Scores: absolute errors.

    Observed pixels are asked for as well, as in the original paper.
    """

    def targets(self, images: Images, protocol: Protocol) -> Tensor:
        """The whole images in a network's units: (N, 1, H, W), NaN where no value is known."""
        return scaled(images, protocol)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error over known pixels, in squared network's units; 0 without any."""
        known = ~targets.isnan()
        error = outputs.reshape(targets.shape) - targets.nan_to_num(0.0)
        return (error.square() * known).sum() / known.sum().clamp(min=1)

    def score(self, outputs: Tensor, targets: Tensor, masks: Tensor) -> Tensor:
        """float64 (N, 4): Σ|error| over known pixels, their number; the same of the missing."""
        known = ~targets.isnan()
        error = (outputs.reshape(targets.shape) - targets.nan_to_num(0.0)).abs().double()
        missing = known & (masks == 0)
        parts = [error * known, known, error * missing, missing]
        return torch.stack([part.double().sum((1, 2, 3)) for part in parts], 1)


OBJECTIVES: dict[str, Classify | Reconstruct] = {
    "classify": Classify(),
    "reconstruct": Reconstruct(),
}
