"""The sentences of the README that the records decide: `make notebooks` writes them anew."""

import textwrap

from sparseconv_lib.study import report, report_caltech
from sparseconv_lib.study.paths import ROOT

README = ROOT / "README.md"


def sentences() -> dict[str, str]:
    """The name of each mark -> what stands behind it today."""
    return {
        "finding": f"**{report.finding('mnist', 'as_written')}**",
        "time": f"On one core of a CPU each network takes {report_caltech.minutes_in_words()}.",
    }


def filled(text: str) -> str:
    """The README `text` with today's sentences between its marks. ValueError if one is lost."""
    for name, sentence in sentences().items():
        start = f"<!-- {name}: written by `make notebooks` from the records -->\n"
        end = f"<!-- end of {name} -->"
        before, _, rest = text.partition(start)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"README.md has lost its marks {start.strip()} and {end}")
        text = f"{before}{start}{textwrap.fill(sentence, 100)}\n{end}{after}"
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
