"""The page on promises: each with its tests' source (`promises`), and what was counted (the rest).

As with the other generated parts, a page that holds one is read anew in every build.
"""

import itertools

from docutils import nodes
from generated import Cell, Generated, table
from sphinx.application import Sphinx

from sparseconv_lib.study import fault_counts, guards, promises, provenance, sameness
from sparseconv_lib.study.promises import Promise


class Promises(Generated):
    def content_nodes(self) -> list[nodes.Node]:
        found: list[nodes.Node] = []
        for group, several in itertools.groupby(promises.load(), lambda promise: promise.group):
            name = f"promises-{nodes.make_id(group)}"
            section = nodes.section(ids=[name], names=[name])
            section += nodes.title("", group)
            for promise in several:
                section += self.promise(promise)
            found.append(section)
        return found

    def promise(self, promise: Promise) -> list[nodes.Node]:
        said = nodes.paragraph("", "", *self.markdown(promise.says))
        if promise.needs:
            said += nodes.Text(f" (Tested where there is {promise.needs}.)")
        if promise.command:
            said += [nodes.Text(" Run by "), nodes.literal("", promise.command), nodes.Text(".")]
        return [said, *map(self.test, promise.tests)]

    def test(self, test: str) -> nodes.Node:
        shown = nodes.admonition(classes=["dropdown"])
        shown += nodes.title("", "", nodes.literal("", test))
        source = promises.source(test)
        shown += nodes.literal_block(source, source, language="python")
        return shown


class Faults(Generated):
    def content_nodes(self) -> list[nodes.Node]:
        counts = fault_counts.load()
        body = [
            [
                [nodes.Text(text)]
                for text in (
                    count.kind,
                    *map(str, (count.tried, count.lost, count.repeated, count.broken)),
                    *map(str, (count.unfinished, count.other_numbers)),
                    f"{count.seconds:,.0f}",
                )
            ]
            for count in counts
        ]
        if not body:
            return [nodes.paragraph("", "No fault has been tried yet.")]
        headers = ["Fault", "Tried", "Records lost", "Trainings repeated", "Files not whole",
                   "Jobs not finished", "Other numbers", "Seconds"]  # fmt: skip
        total, lost = (sum(getattr(c, name) for c in counts) for name in ("tried", "lost"))
        devices = "; ".join(dict.fromkeys(count.device for count in counts))
        commits = ", ".join(dict.fromkeys(count.commit[:10] for count in counts))
        dates = ", ".join(dict.fromkeys(count.date for count in counts))
        told = [f"n = {total} faults, {lost} records lost ({devices}; commit {commits}; {dates})."]
        for count in counts:
            if count.found:
                moments = "; ".join(f"{what}: {n}" for what, n in sorted(count.found.items()))
                name = count.kind[0].upper() + count.kind[1:]
                told.append(f"{name}. Where the sweep was at these moments: {moments}.")
        return [
            table("faults", headers, [6, 1, 2, 2, 2, 2, 2, 2], body),
            *(nodes.paragraph("", text) for text in told),
        ]


def cells(*texts: object) -> list[Cell]:
    return [[nodes.Text(str(text))] for text in texts]


class Mutants(Generated):
    """How many breaks of each module the tests noticed; the others stand below, with a reason."""

    def content_nodes(self) -> list[nodes.Node]:
        counts = guards.mutations()
        body = [
            cells(
                guards.MODULES[count.module],
                count.mutants,
                count.caught,
                f"{count.caught / count.mutants:.1%}",
                "today's" if count.of_today else "earlier",
            )
            for count in counts
        ]
        headers = ["Module", "Breaks", "Noticed", "Share", "Code"]
        shown: list[nodes.Node] = [table("mutants", headers, [5, 2, 2, 2, 3], body)]
        for count in counts:
            if count.survivors:
                shown.append(self.survivors(count))
        return shown

    def survivors(self, count: guards.Counted) -> nodes.Node:
        found = nodes.admonition(classes=["dropdown"])
        n = len(count.survivors)
        found += nodes.title("", f"{count.module}: {n} not noticed, and why that may be")
        by_reason: dict[str, list[guards.Mutant]] = {}
        for mutant, reason in count.survivors:
            by_reason.setdefault(reason, []).append(mutant)
        for reason, mutants in by_reason.items():
            n = f" ({len(mutants)} breaks)" if len(mutants) > 1 else ""
            found += nodes.paragraph("", f"{reason[:1].upper()}{reason[1:]}{n}:")
            for _, function, was, now in mutants:
                change = "\n".join(f"{sign} {line}" for sign, text in (("-", was), ("+", now))
                                   for line in text.splitlines())  # fmt: skip
                told = f"in {function}\n{change}"
                found += nodes.literal_block(told, told, language="diff")
        return found


def code(identity: str) -> str:
    return "today's code" if identity == provenance.code_identity() else "an earlier code"


class Coverage(Generated):
    """How much of the library the tests run."""

    def content_nodes(self) -> list[nodes.Node]:
        found = guards.coverage()
        if found is None:
            text = "How much of the library the tests run has not been counted yet."
            return [nodes.paragraph("", text)]
        told = " and ".join(
            f"{run:,} of {all_of_them:,} {kind} ({run / all_of_them:.1%})"
            for kind in ("lines", "branches")
            for run, all_of_them in [found[kind]]
        )
        commit = found["commit"][:10]
        text = (
            f"The fast tests and the notebooks run {told} of the library; {found['device']}, "
            f"commit {commit}, {code(found['code'])} of what decides the numbers."
        )
        return [nodes.paragraph("", text)]


class Sameness(Generated):
    """The digits of two versions of PyTorch."""

    def content_nodes(self) -> list[nodes.Node]:
        found = sameness.load()
        headers = ["What", "Compared", "Equal to the last bit", "Largest difference", "Stated"]
        body = [
            cells(
                kind,
                found[kind]["compared"],
                found[kind]["equal"],
                f"{found[kind]['largest_difference']:.1e}",
                f"{found[kind]['tolerance']:.0e}",
            )
            for kind in sameness.TOLERANCES
        ]
        versions = " and ".join(found[which]["torch"] for which in ("oldest", "newest"))
        text = (
            f"PyTorch {versions}, {found['device']}, {code(found['code'])}. A difference is a "
            "share of the largest number that is compared with."
        )
        return [table("sameness", headers, [3, 2, 3, 3, 2], body), nodes.paragraph("", text)]


def setup(app: Sphinx) -> dict[str, int]:
    app.add_directive("promises", Promises)
    for directive in (Faults, Mutants, Coverage, Sameness):
        app.add_directive(directive.__name__.lower(), directive)
    return {"env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
