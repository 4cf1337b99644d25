"""The sentences of the README that the records decide: `make notebooks` writes them anew."""

import textwrap

from sparseconv_lib.study import answer, numbers, report, report_limitations
from sparseconv_lib.study.paths import QUICKLY, ROOT

README = ROOT / "README.md"


def sentences() -> dict[str, str]:
    """The name of each mark -> what stands behind it today, with empty lines between paragraphs."""
    return {
        "answer": "\n\n".join(
            [
                f"**Does the sparse convolution help to classify?** {answer.in_plain_words()} "
                f"{report_limitations.verdicts()}",
                "In numbers:",
                *(f"- {told()}" for told in answer.IN_NUMBERS.values()),
            ]
        ),
        **{
            name: "On one core of a CPU each network takes "
            f"{report.time_in_words(task, 'as_written')}."
            for name, task in (("seconds", "mnist"), ("time", "caltech"))
        },
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
        paragraphs = numbers.plain(sentence).split("\n\n")
        told = "\n\n".join(
            textwrap.fill(each, 100, subsequent_indent="  " * each.startswith("- "))
            for each in paragraphs
        )
        text = f"{before}{start}{told}\n{end}{after}"
    return text


if __name__ == "__main__":
    if QUICKLY:
        raise SystemExit("$SPARSECONV_QUICK is set, and README.md says what is published: unset it")
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
