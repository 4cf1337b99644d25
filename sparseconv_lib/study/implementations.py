"""What public implementations of the layer store, against the source's "doubles the parameters"."""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

from sparseconv_lib.study.claims import NOT_REPRODUCED, REPRODUCED
from sparseconv_lib.study.paths import RESULTS

DOUBLE = 1.9  # the rule of the claim layer-double-parameters


@dataclass(frozen=True)
class Implementation:
    """A public repository's layer; `stored` is the shape of what it keeps for the denominator."""

    repository: str
    denominator: str
    stored: tuple[int | str, ...]
    run: bool

    def weights(self, c_in: int, c_out: int, k: int) -> int:
        """Stored weights of a c_in -> c_out layer with a k x k kernel, frozen ones included."""
        sizes = {"c_in": c_in, "c_out": c_out, "k": k}
        extra = [sizes[side] if isinstance(side, str) else side for side in self.stored]
        return c_in * c_out * k * k + (math.prod(extra) if extra else 0)


def load(path: Path = RESULTS / "implementations.toml") -> list[Implementation]:
    """Every implementation of the file, in its order."""
    with path.open("rb") as file:
        rows = tomllib.load(file)["implementation"]
    return [Implementation(**{**row, "stored": tuple(row["stored"])}) for row in rows]


def verdict(c_in: int = 16, c_out: int = 16, k: int = 5) -> tuple[str, str]:
    """The word and its reason: reproduced if more than half store `DOUBLE` times the weights."""
    plain = c_in * c_out * k * k
    ratios = {each.repository: each.weights(c_in, c_out, k) / plain for each in load()}
    double = sum(ratio >= DOUBLE for ratio in ratios.values())
    most = max(ratios, key=ratios.__getitem__)
    word = REPRODUCED if double > len(ratios) / 2 else NOT_REPRODUCED
    return word, (
        f"{double} of {len(ratios)} store at least {DOUBLE:g} times the weights of nn.Conv2d; "
        f"the most is {ratios[most]:.2f} times, in {most}. The source does not name those it read."
    )
