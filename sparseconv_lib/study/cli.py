"""The command `sparseconv`, the same as `python -m sparseconv_lib`."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sparseconv_lib.study.grid import EXPERIMENTS, experiment
from sparseconv_lib.study.one_line import one_line
from sparseconv_lib.study.processes import usable_cores
from sparseconv_lib.study.protocol import ParameterError

TOGETHER = 64  # trainings, of which a GPU does as many as fit into its memory
MOST = {"--seeds": 1_000, "--workers": 1_000, "--together": 1_000}  # beyond them, a slip

EPILOG = """\
examples
  sparseconv data mnist                  fetch and check the data
  sparseconv missing                     what the published grid still lacks
  sparseconv sweep mnist --seeds 1       one seed of every cell, on all cores
  sparseconv sweep mnist --budget 90m    as much of the grid as 90 minutes hold
  sparseconv table mnist --csv           every number, with its n, spread and device

A sweep may be stopped at any time: run it again, and it goes on where it was.
To run one page by hand:  papermill notebooks/mnist.ipynb out.ipynb -p sparsity 0.8
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sparseconv",
        description="Runs the grid of the report and shows what it found.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    known = ", ".join(EXPERIMENTS)

    data = commands.add_parser("data", help="fetch a data set into the user's cache, and check it")
    data.add_argument("dataset", help="mnist, caltech101")

    sweep = commands.add_parser(
        "sweep",
        help="run what the grid lacks, through papermill",
        description="Executes every page of the grid that lacks a record, the lowest seed first, "
        "and publishes each page with its records as soon as it is whole.",
    )
    sweep.add_argument("experiments", nargs="+", metavar="EXPERIMENT", help=known)
    sweep.add_argument("--workers", type=int, help="pages at a time (default: the cores)")
    sweep.add_argument(
        "--together",
        type=int,
        help=f"trainings that run as one (default: {TOGETHER} with a GPU, else 1)",
    )
    sweep.add_argument(
        "--scheduler",
        metavar="tcp://HOST:8786",
        help="address of a dask cluster, whose workers are used in the place of this machine's",
    )
    sweep.add_argument("--seeds", type=int, help="seeds of each cell (default: the grid's)")
    sweep.add_argument(
        "--budget", help="start only pages that can end within this time: 90s, 8m, 1.5h"
    )
    sweep.add_argument(
        "--train-only",
        action="store_true",
        help="leave the pages to a later sweep, here or wherever results/.partial is carried",
    )
    sweep.add_argument("--dry-run", action="store_true", help="list the pages, run nothing")

    missing = commands.add_parser(
        "missing",
        help="list the trainings that the grid lacks",
        description="Lists the trainings that the published grid lacks, most valuable first. n "
        "does not depend on the device. The last line is `missing: N`.",
    )
    missing.add_argument(
        "experiments", nargs="*", metavar="EXPERIMENT", help=f"{known} (default: all)"
    )
    missing.add_argument(
        "--summary",
        action="store_true",
        help="a line for each experiment instead, with how long it takes on a device like this",
    )

    table = commands.add_parser("table", help="accuracies with n, mean, spread and device")
    notebooks = ", ".join(dict.fromkeys(each.notebook for each in EXPERIMENTS.values()))
    table.add_argument("notebook", metavar="NOTEBOOK", help=notebooks)
    table.add_argument("--csv", action="store_true", help="comma-separated, unrounded")

    collect = commands.add_parser(
        "collect",
        help="pack all records and their pages into one archive, or unpack such an archive",
        description="Writes every record with its page to ARCHIVE (.tar.gz), to be carried from "
        "the machine that made them. With --unpack, takes them out of it into this checkout: each "
        "is checked, and none that is there is changed.",
    )
    collect.add_argument("archive", type=Path, metavar="ARCHIVE")
    collect.add_argument("--unpack", action="store_true")

    release = commands.add_parser(
        "release",
        help="keep today's means as a release, for the book's list of changes",
        description="Writes n, mean and standard deviation of every cell, as the records have "
        "them today, to results/releases/NAME.json. The book's page on provenance tells what "
        "changed from one release to the next, and since the last.",
    )
    release.add_argument("name", metavar="NAME", help="such as 1.0; none is ever rewritten")

    commands.add_parser(
        "probe",
        help="after a change of the code: record whether it changed the numbers",
        description="Trains every network for a few steps on generated images and keeps the "
        "digits in results/probes.json under the identity of today's code. Where two identities "
        "have the same digits, the book takes their records for the same.",
    )
    commands.add_parser(
        "measure",
        help="time the layer, the networks and their trainings, for the book",
        description="Measures three denominators of Eq. 1 side by side, and a training step on "
        "photographs in two orders of the channels and two precisions, the layer and the networks "
        "beside plain ones, and trainings that run as one; and replaces results/denominators.json, "
        "layouts.json and benchmark-cpu.json (or -cuda). Nothing else should run meanwhile.",
    )
    return parser


def _data(arguments: argparse.Namespace) -> int:
    from sparseconv_lib.study import data

    dataset = data.load(arguments.dataset)
    print(
        f"{dataset.name}: {len(dataset.train_labels):,} training and "
        f"{len(dataset.test_labels):,} test images, checked"
    )
    return 0


def _sweep(arguments: argparse.Namespace) -> int:
    import torch

    from sparseconv_lib.study import sweep

    budget = sweep.parse_budget(arguments.budget)
    for option, most in MOST.items():
        value = getattr(arguments, option.removeprefix("--"))
        if value is not None and value > most:
            raise ParameterError(f"{option} is {value}; give at most {most:,}")
    names = list(dict.fromkeys(arguments.experiments))
    pages = sweep.missing_pages(names, arguments.seeds)
    workers, together, scheduler = arguments.workers, arguments.together, arguments.scheduler
    if workers is not None and scheduler is not None:
        raise ParameterError("--workers are those of this machine; leave it out with --scheduler")
    if scheduler == "":
        raise ParameterError("--scheduler is empty; give an address such as tcp://host:8786")
    if together is None:
        together = TOGETHER if torch.cuda.is_available() and scheduler is None else 1
    if workers is None:
        # With one training at a time on a GPU, pages would only wait for each other.
        workers = 1 if torch.cuda.is_available() and together == 1 else usable_cores()
    for name, value in (("--workers", workers), ("--together", together)):
        if value < 1:
            raise ParameterError(f"{name} is {value}; give at least 1")
    trainings = sum(len(sweep.missing_keys(page)) for page in pages)
    where = f"on {scheduler}" if scheduler else f"{workers} at a time"
    print(f"{len(pages)} pages to run ({trainings} trainings), {where}", flush=True)
    if arguments.dry_run:
        for page in pages:
            print(page.path)
        return 0
    done = sweep.sweep(
        pages,
        workers=workers,
        budget=budget,
        together=together,
        scheduler=scheduler,
        train_only=arguments.train_only,
    )
    failed = [page for page in done if page.error]
    if arguments.train_only:
        print(
            f"{len(done) - len(failed)} stacks trained, {len(failed)} failed; their records wait "
            "in results/.partial for a sweep that executes the pages",
            flush=True,
        )
        return 1 if failed else 0
    published = sum(not page.error and not page.skipped for page in done)
    print(f"{published} published, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def _missing(arguments: argparse.Namespace) -> int:
    from sparseconv_lib.study import sweep

    names = list(dict.fromkeys(arguments.experiments)) or list(EXPERIMENTS)
    if arguments.summary:
        return _missing_summary(names)
    count = 0
    for page in sweep.missing_pages(names):
        for key in sweep.missing_keys(page):
            print(key)
            count += 1
    print(f"missing: {count}")
    return 0


def _missing_summary(names: list[str]) -> int:
    import torch

    from sparseconv_lib.study import provenance, scaling

    device = provenance.device_name("cuda" if torch.cuda.is_available() else "cpu")
    lacks = [scaling.lack(name, device) for name in names]
    wide = max(map(len, names))
    print(f"{'experiment':{wide}}  missing    of  hours  pages measured")
    for name, lack in zip(names, lacks, strict=True):
        hours = "-" if lack.seconds is None else f"{lack.seconds / 3600:.1f}"
        measured = f"{lack.measured} of {lack.pages}"
        print(f"{name:{wide}}  {lack.trainings:7}  {lack.of:4}  {hours:>5}  {measured:>14}")
    print(f"Hours of one worker on {device}. Pages not measured there are taken to last as the")
    print("median of their like does, whatever their epochs; -: nothing is measured there.")
    print(f"missing: {sum(lack.trainings for lack in lacks)}")
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from sparseconv_lib.study import tables

    name = arguments.notebook
    if name not in {each.notebook for each in EXPERIMENTS.values()}:
        name = experiment(name).notebook  # an experiment's trainings are filed under its notebook's
    table = tables.table(name)
    if arguments.csv:
        table.to_csv(sys.stdout, index=False)
    elif table.empty:
        print(f"no records of {name}; run `sparseconv sweep {name}`")
    else:
        print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}", na_rep="-"))
    return 0


def _collect(arguments: argparse.Namespace) -> int:
    from sparseconv_lib.study import collect

    if not arguments.unpack:
        print(f"{collect.pack(arguments.archive)} records in {arguments.archive}")
        return 0
    found = collect.unpack(arguments.archive)
    for line in found.refused:
        print(one_line(f"refused: {line}"), file=sys.stderr)
    print(f"{found.new} new, {found.there} there already, {len(found.refused)} refused")
    return 1 if found.refused else 0


def _probe(arguments: argparse.Namespace) -> int:
    from sparseconv_lib.study import probe, provenance

    digits = probe.run_all()
    probe.save(digits)
    ran_on = probe.processors()
    print(f"{len(digits)} probes of code {provenance.code_identity()} in {probe.PROBES.name}")
    for identity, others in probe.load().items():
        elsewhere = ran_on.get(identity, probe.processor()) != probe.processor()
        same = sum(
            name in others and probe.agree(digits[name], others[name], name, elsewhere)
            for name in digits
        )
        print(f"{identity}: {same} of {len(digits)} give today's digits")
    return 0


def _release(arguments: argparse.Namespace) -> int:
    from sparseconv_lib.study import releases

    path = releases.write(arguments.name)
    print(f"{len(releases.read(path).cells)} numbers in {path}")
    return 0


def _measure(arguments: argparse.Namespace) -> int:
    from sparseconv_lib.study import benchmark, denominators, layouts

    measured = denominators.measure()
    denominators.save(measured)
    for row in measured["rows"]:
        print(
            f"{row['shape']}, {row['design']}: {row['time_ratio']:.2f} times "
            f"({row['time_ratio_low']:.2f} to {row['time_ratio_high']:.2f})"
        )
    print(f"kept in {denominators.MEASURED.name}; {measured['rounds']} rounds")
    measured = layouts.measure()
    layouts.save(measured)
    for row in measured["rows"]:
        print(
            f"{row['network']}, {row['variant']}: {row['images_a_second']:.0f} images/s, "
            f"{row['time_ratio']:.2f} times the time of float32"
        )
    print(f"kept in {layouts.MEASURED.name}; {measured['rounds']} rounds")
    measured = benchmark.measure()
    path = benchmark.save(measured)
    for row in measured["steps"]:
        print(f"{row['case']}, {row['network']}: {row['time_ratio']:.2f} times ConvNet's step")
    print(f"kept in {path.name}; {measured['rounds']} rounds")
    return 0


COMMANDS = {
    "data": _data,
    "sweep": _sweep,
    "missing": _missing,
    "table": _table,
    "collect": _collect,
    "release": _release,
    "probe": _probe,
    "measure": _measure,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit status: 0 done, 1 something failed, 2 wrong use."""
    arguments = _parser().parse_args(argv)
    warnings.formatwarning = lambda message, *_, **__: f"sparseconv: {message}\n"
    from sparseconv_lib.study.errors import OneLineError

    try:
        return COMMANDS[arguments.command](arguments)
    except (ValueError, OneLineError) as error:
        status = 2 if isinstance(error, ValueError) else 1
        print(f"sparseconv: {one_line(str(error))}", file=sys.stderr)
        return status
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 0
    except OSError as error:
        told = one_line(f"{error}; check the folder and its permissions")
        print(f"sparseconv: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("sparseconv: stopped; run the same command to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
