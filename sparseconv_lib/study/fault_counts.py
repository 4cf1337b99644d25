"""What was found after faults, counted by `faults` and kept for the book in results/faults.json."""

import dataclasses
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sparseconv_lib.study import provenance
from sparseconv_lib.study.paths import RESULTS

TRIED = RESULTS / "faults.json"


@dataclass
class Count:
    """What was found after the faults of one kind; all but `tried` and `seconds` should be 0.

    lost: records that were whole before a fault and were gone, or other, after it.
    repeated: trainings that ran although there was a whole record of them.
    broken: files under their final name that are not whole, or records without their page.
    unfinished: jobs that the same command, run again, did not finish.
    other_numbers: records that differ from a training that nobody interrupted.
    found: how far the sweep was at the moment of a kill -> how many times.
    date, device, commit: when, on what, and of which code.
    """

    kind: str
    tried: int = 0
    lost: int = 0
    repeated: int = 0
    broken: int = 0
    unfinished: int = 0
    other_numbers: int = 0
    seconds: float = 0.0
    found: dict[str, int] = field(default_factory=dict)
    date: str = ""
    device: str = ""
    commit: str = ""

    @property
    def damage(self) -> int:
        """Everything that should not have been found."""
        return self.lost + self.repeated + self.broken + self.unfinished + self.other_numbers

    def note(self, how_far: str) -> None:
        """Counts one more moment in `found`."""
        self.found[how_far] = self.found.get(how_far, 0) + 1


def save(counts: Sequence[Count], path: Path = TRIED) -> None:
    """Puts these in the place of what was counted of their kinds before; others stay."""
    kept = {count.kind: count for count in load(path)}
    today = datetime.now(UTC).date().isoformat()
    device, commit = provenance.device_name("cpu"), provenance.commit()
    for count in counts:
        kept[count.kind] = dataclasses.replace(
            count, seconds=round(count.seconds, 1), date=today, device=device, commit=commit
        )
    content = {"kinds": [dataclasses.asdict(count) for count in kept.values()]}
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)


def load(path: Path = TRIED) -> list[Count]:
    """What `save` wrote; nothing where there is no such file."""
    if not path.exists():
        return []
    return [Count(**each) for each in json.loads(path.read_text(encoding="utf-8"))["kinds"]]
