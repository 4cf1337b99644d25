"""Sparsity invariant convolutions (Uhrig et al. 2017) in PyTorch, and a study of what they do.

    masks -> layers -> networks, resnet                          the library: needs torch alone
    data -> protocol -> training -> records -> statistics -> figures    sparseconv_lib.study

`import sparseconv_lib` loads the library. The study, which trains, records and draws what the
report shows, is imported by name.
"""

from sparseconv_lib.layers import SparseConv2d, max_pool_mask, sparse_conv2d
from sparseconv_lib.masks import FIELDS, bernoulli_field, observe, observed
from sparseconv_lib.networks import (
    NETWORKS,
    TABLE_1,
    TABLE_2,
    Architecture,
    ClassificationNet,
    CompletionNet,
)
from sparseconv_lib.resnet import ResNet18

__all__ = [
    "FIELDS",
    "NETWORKS",
    "TABLE_1",
    "TABLE_2",
    "Architecture",
    "ClassificationNet",
    "CompletionNet",
    "ResNet18",
    "SparseConv2d",
    "bernoulli_field",
    "max_pool_mask",
    "observe",
    "observed",
    "sparse_conv2d",
]
