"""Maps of one value a pixel: a field of elevations, and frames of depth.

Images are float32 (N, 1, H, W) in metres, NaN where the value is not known. Training and test are
split by block, so that no test pixel lies near a training pixel.
"""

import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from sparseconv_lib.study import paths
from sparseconv_lib.study.data_error import DataError

# matplotlib's jacksboro_fault_dem.npz: 344 × 403 elevations of the ground in Tennessee.
ELEVATION_SHA256 = "0c7e9f894eb7c8d444ca4475e64249e060d96c90ab63fdf439a0381c590ed502"
TILE, STRIDE = 64, 16
TRAINED_COLUMNS = 256  # from the left
TEST_COLUMN = 275  # further from them than any kernel of the paper's network reaches at once

# UnrealCV frames, MIT licence, from ONNX-msg_chn_wacv20-depth-completion by ibaiGorordo.
DEPTH_FILE = "depth_unrealcv240.zip"
DEPTH_SHA256 = "974b87bf409953aae6ae95be46545b388eb92f7a6ae23c4638228f6af6d6923a"
FRAMES, HEIGHT, WIDTH = 240, 480, 640
TRAINED_FRAMES, TEST_FRAME = 160, 180  # one camera path: what lies between is left out
CLIPPED = 10_000  # millimetres: what is farther is not known
REDUCED: Literal[4] = 4  # every how many-th pixel of "depth_reduced"


def elevation() -> tuple[torch.Tensor, torch.Tensor, str]:
    """Training tiles (234, 1, 64, 64), test tiles (10, 1, 64, 64), and the identity of both.

    Training tiles overlap, test tiles do not. Raises DataError if matplotlib ships no such field,
    or another one.
    """
    from matplotlib import cbook

    try:
        file: Any = cbook.get_sample_data("jacksboro_fault_dem.npz")  # opened by numpy
    except OSError as error:
        raise DataError(
            f"this matplotlib came without its sample data ({error}); install it by pip, in the "
            "version in constraints.txt"
        ) from error
    field = np.ascontiguousarray(file["elevation"].astype("<i2"))
    actual = hashlib.sha256(field.tobytes()).hexdigest()
    if actual != ELEVATION_SHA256:
        raise DataError(
            f"matplotlib's jacksboro_fault_dem.npz has changed (sha256 {actual[:12]}… of the "
            f"elevations, not {ELEVATION_SHA256[:12]}…); install the version in constraints.txt"
        )
    height, width = field.shape
    train = [
        field[row : row + TILE, column : column + TILE]
        for row in range(0, height - TILE + 1, STRIDE)
        for column in range(0, TRAINED_COLUMNS - TILE + 1, STRIDE)
    ]
    test = [
        field[row : row + TILE, column : column + TILE]
        for row in range(0, height - TILE + 1, TILE)
        for column in range(TEST_COLUMN, width - TILE + 1, TILE)
    ]
    return _maps(train), _maps(test), identity("elevation")


def depth(every: Literal[1, 4] = 1) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Training frames (160, 1, H, W), test frames (60, 1, H, W), and the identity of both.

    every: which pixels of 480 × 640 are used, in both directions: all of them, or every fourth.
    None is averaged, since an average over an edge is a depth that nothing has. Raises DataError
    without the file, or with another one.
    """
    path = _depth_file()
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != DEPTH_SHA256:
        raise DataError(
            f"{path} has sha256 {actual[:12]}…, not {DEPTH_SHA256[:12]}…: {_DEPTH_REMEDY}"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        train, test = (
            _maps([_frame(archive, i)[::every, ::every] for i in frames])
            for frames in (range(TRAINED_FRAMES), range(TEST_FRAME, FRAMES))
        )
    for maps in (train, test):
        maps /= 1000  # metres
        maps[maps >= CLIPPED / 1000] = torch.nan
    return train, test, identity("depth" if every == 1 else "depth_reduced")


_DEPTH_REMEDY = (
    "it is in no package registry; put it, as it comes from the repository "
    "ONNX-msg_chn_wacv20-depth-completion of ibaiGorordo, into the folder named in $SPARSECONV_DATA"
)


def _depth_file() -> Path:
    given = paths.data_folder()
    if given is None or not (given / DEPTH_FILE).is_file():
        where = "$SPARSECONV_DATA is not set" if given is None else f"{given} has no such file"
        raise DataError(f"{DEPTH_FILE}: {where}; {_DEPTH_REMEDY}")
    return given / DEPTH_FILE


def _frame(archive: zipfile.ZipFile, number: int) -> np.ndarray:
    """One frame: (480, 640), millimetres."""
    from PIL import Image

    name = f"depthmap/depth_frame{number:03}.png"
    picture = np.asarray(Image.open(io.BytesIO(archive.read(name))))
    if picture.shape != (HEIGHT, WIDTH):
        raise DataError(f"{DEPTH_FILE}: {name} is {picture.shape}, not {(HEIGHT, WIDTH)}")
    return picture


def _maps(parts: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(parts).astype(np.float32)).unsqueeze(1)


def identity(name: str) -> str:
    """Of a data set's file and of how it is split: a sha256 in hexadecimal."""
    parts: tuple[object, ...] = (ELEVATION_SHA256, TILE, STRIDE, TRAINED_COLUMNS, TEST_COLUMN)
    if name != "elevation":
        every = REDUCED if name == "depth_reduced" else 1
        parts = (DEPTH_SHA256, TRAINED_FRAMES, TEST_FRAME, CLIPPED, every)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def synthetic(name: str, images: int, generator: torch.Generator) -> torch.Tensor:
    """Generated maps (images, 1, H, W) in metres: sums of a few waves; of depth, some not known."""
    height, width = {"elevation": (TILE, TILE)}.get(name, (HEIGHT // REDUCED, WIDTH // REDUCED))
    rows = torch.linspace(0, 1, height).view(1, -1, 1)
    columns = torch.linspace(0, 1, width).view(1, 1, -1)
    maps = torch.zeros(images, height, width)
    for wave in range(1, 5):
        down, right, phase = torch.rand(3, images, 1, 1, generator=generator) * 2 * torch.pi
        maps += torch.cos(wave * (down * rows + right * columns) + phase) / wave
    middle, span = (600.0, 150.0) if name == "elevation" else (7.0, 3.0)
    maps = middle + span * maps
    if name != "elevation":
        maps[maps >= CLIPPED / 1000] = torch.nan
    return maps.unsqueeze(1)
