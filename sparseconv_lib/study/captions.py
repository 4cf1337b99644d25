"""What a chart shows, in one sentence with which its caption opens, from the numbers that it draws.

Each function returns its sentence with a space behind it, or "" where there is nothing to say.
Of differences over several seeds the sentence says what their intervals show, one by one; of
accuracies, and of one run each, what was measured, and no more.
"""

from collections.abc import Collection, Mapping, Sequence

from sparseconv_lib.study import numbers
from sparseconv_lib.study.statistics import Summary

BySparsity = Mapping[float, Summary]
NO_BREAK = "\u00a0"


def differences(cells: Mapping[str, BySparsity], against: str) -> str:
    """Where each network's interval lies above 0, where below, or that none does.

    Ranges are told among all sparsities at which some network has an interval.

    cells: network -> sparsity -> Summary of its accuracy minus that of `against`.
    """
    judged = {
        network: found
        for network, by in cells.items()
        if (found := {p: s for p, s in sorted(by.items()) if s.n > 1})
    }
    if not judged:
        return _one_run_each(cells, against)
    tried = sorted({p for by in judged.values() for p in by})
    once: dict[str, list[str]] = {}  # sparsities with one run -> of which networks
    for network, by in cells.items():
        single = [f"{p:g}" for p, s in sorted(by.items()) if s.n == 1]
        if single:
            once.setdefault(in_a_row(single), []).append(network)
    lone = [f"{in_a_row(networks)} at p = {where}" for where, networks in once.items()]
    but = f" (not judged, one run: {'; '.join(lone)})" if lone else ""
    some = "judged" if lone else "tried"
    every = "every p judged" if lone else "every p"
    alike: dict[str, list[str]] = {}  # what is shown -> of which networks
    for network, by in judged.items():
        signs = {
            "better": [p for p in by if by[p].low > 0],
            "worse": [p for p in by if by[p].high < 0],
        }
        parts = [f"{word} {at(where, tried, every)}" for word, where in signs.items() if where]
        alike.setdefault(" and ".join(parts), []).append(network)
    none = alike.pop("", [])
    if none:
        alike[f"not told apart at any p {some}"] = none
    told = [
        f"{in_a_row(networks)} {'is' if len(networks) == 1 else 'are'} {shown}"
        for shown, networks in alike.items()
    ]
    return f"By single 95 % intervals, against {against}, {'; '.join(told)}{but}. "


def _one_run_each(cells: Mapping[str, BySparsity], against: str) -> str:
    told = []
    for network, by in cells.items():
        ends = sorted(by, key=lambda p: by[p].mean)
        parts = [f"{_points(by[p])} (p = {p:g})" for p in dict.fromkeys((*ends[:1], *ends[-1:]))]
        if parts:
            told.append(f"{network} {' to '.join(parts)}")
    return f"In one run each, points against {against}: {'; '.join(told)}. " if told else ""


def accuracies(cells: Mapping[str, BySparsity]) -> str:
    """From what to what accuracy falls with p, and where networks lie farthest apart.

    cells: network -> sparsity -> Summary. Told of the sparsities that all networks have.
    """
    shown = [by for by in cells.values() if by]
    shared = sorted(set.intersection(*map(set, shown))) if shown else []
    if not shared:
        return ""
    ends = {}  # sparsity -> the networks with the least and with the greatest accuracy
    for p in shared:
        ranked = sorted((by[p].mean, network) for network, by in cells.items() if by)
        ends[p] = ranked[0][1], ranked[-1][1]

    def span(p: float) -> str:
        low, high = (_percent(cells[network][p]) for network in ends[p])
        told = low if numbers.plain(low) == numbers.plain(high) else f"between {low} and {high}"
        return f"{told}{NO_BREAK}%"

    once = [p for p in shared if any(by[p].n == 1 for by in shown)]
    single = all(by[p].n == 1 for by in shown for p in shared)
    told = "In one run each, accuracies" if single else "Mean accuracies"
    if once and not single:
        all_once = all(by[p].n == 1 for by in shown for p in once)
        of = "of one run at" if all_once else "of one run for some at"
        told += f" ({of} p = {in_a_row([f'{p:g}' for p in once])})"
    first, last = shared[0], shared[-1]
    if first == last:
        return f"{told} are {span(first)} at p = {first:g}. "
    fall = all(by[last].mean < by[first].mean for by in shown)
    told += f" {'fall' if fall else 'go'} from {span(first)} at p = {first:g} to {span(last)}"
    told += f" at p = {last:g}"
    if len(shown) > 1:
        gaps = {
            p: cells[high][p].mean - cells[low][p].mean
            for p, (low, high) in ends.items()
            if p not in once or len(once) == len(shared)
        }
        widest = max(gaps, key=lambda p: gaps[p])
        low, high = ends[widest]
        gap = f"{100 * gaps[widest]:.1f}"
        if float(gap):
            gap = numbers.number(gap, gaps[widest])
            of_several = "where there are several runs, " if len(gaps) < len(shared) else ""
            told += f"; {of_several}they lie farthest apart at p = {widest:g}, {high} {gap} points"
            told += f" above {low}"
    return f"{told}. "


def at(where: Collection[float], of: Sequence[float], every: str = "every p") -> str:
    """ "at p = 0, 0.1 and 0.5 to 0.9": three or more neighbours among `of` as a range."""
    if len(where) == len(of) > 1:
        return f"at {every}"
    runs: list[list[float]] = []
    for i, p in enumerate(of):
        if p in where:
            if runs and i and of[i - 1] == runs[-1][-1]:
                runs[-1].append(p)
            else:
                runs.append([p])
    told = []
    for run in runs:
        told += [f"{run[0]:g} to {run[-1]:g}"] if len(run) > 2 else [f"{p:g}" for p in run]
    return f"at p = {in_a_row(told)}"


def in_a_row(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _percent(summary: Summary) -> str:
    return numbers.number(f"{100 * summary.mean:.1f}", summary, f"{100 * summary.sd:.2f} points")


def _points(summary: Summary) -> str:
    told = f"{100 * summary.mean:+.1f}".replace("-", "−")
    return numbers.number(told.replace("−0.0", "+0.0"), summary)
