"""`from sparseconv_lib.study.torchvision_compat import torchvision`: the import that always works.

The registry's torchvision is built against a CUDA torch. Beside a CPU torch its compiled operators
do not load, and `import torchvision` stops at "operator torchvision::nms does not exist". Declaring
the missing schemas lets everything but `ops.nms` and `io.decode_jpeg` work: data sets, transforms,
models. Where torchvision imports cleanly this module does nothing more than import it.
"""

import sys

import torch

__all__ = ["torchvision"]

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    # A library takes its schemas with it when it is collected, so it stays a module variable.
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for _name, _schema in _SCHEMAS.items():
        _library.define(_name + _schema)
    # The failed attempt left submodules behind that would be taken for whole.
    for _module in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[_module]
    import torchvision
