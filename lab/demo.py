"""The main job, small: three sweeps, the classical builders, one comparison. Three minutes on two cores."""

from __future__ import annotations

import time
from pathlib import Path

import click

from lab.compare import Comparison, compare, l1, refuse_report
from lab.console import emit, figure, print_table, progress
from lab.errors import WorkError
from lab.sweep.cluster import ray_session
from lab.work import start_sweep

__all__ = ["demo"]

_SWEEPS = (("table_ppo", 4, ("iterations=30",)), ("table_supervised", 4, ()))
"""Experiment, trials, fields: enough to beat the untrained networks by far."""

_L1_SAMPLES, _L1_FIXED = 48, ("width=16", "batch_size=32")
"""Of one shape each, the trials of a cell train as one."""

_CLASSICAL = (
    "maglev",
    "ring",
    "ring-bounded",
    "rendezvous",
    "rendezvous-stratified",
    "balanced",
    "balanced-stratified",
    "balanced-stratified+1",
    "balanced-stratified+2",
    "modulo",
    "stateful-optimum",
)
"""A builder that is added later must not make the demo slower."""

_PAIRS = 400
"""Of each suite and number of backends: the intervals of a demo may be wider than those of a published figure."""


def demo(out: Path | None, *, as_json: bool) -> Comparison:
    """Sweeps RLlib PPO and the supervised table, compares the best of each with all classical builders, sweeps networks
    that learn the L1 norm, and prints what came out.

    Args:
        out: folder of the report; by default one inside the PPO run's.
        as_json: print the report's content as JSON instead of tables.

    Raises:
        WorkError: a best network does not beat itself before training, by a paired 95 % interval.
    """
    begun = time.monotonic()
    if out is not None:
        refuse_report(out, force=False)
    runs = []
    # One Ray for all sweeps: to start it takes several seconds.
    with ray_session(None):
        for number, (name, samples, fields) in enumerate(_SWEEPS, start=1):
            click.echo(f"{number} of 4: a sweep of {samples} trials of {name}", err=True)
            runs.append(start_sweep(name, "quick", fields, samples=samples, search="random", scheduler="none"))
        click.echo(f"3 of 4: a sweep of {_L1_SAMPLES} trials of l1_norm", err=True)
        norms = start_sweep("l1_norm", "quick", _L1_FIXED, samples=_L1_SAMPLES, search="random", scheduler="none")
    click.echo("4 of 4: the best of each, the same before training, and the classical builders", err=True)
    out = out or runs[0].folder / "report"
    with progress("comparing") as update:
        names = [run.name for run in runs]
        comparison = compare(names, out=out, builders=_CLASSICAL, count=_PAIRS, progress=update)
    with progress("reading long sequences") as update:
        l1_columns, l1_rows = l1.rows(norms, update)
    if as_json:
        emit({**comparison.content, "l1_norm": [dict(zip(l1_columns, row, strict=True)) for row in l1_rows]})
    else:
        for analysis in comparison.analyses:
            print_table(analysis.suite.title, *comparison.table(analysis))
        for difference in comparison.against_untrained:
            found = difference.interval
            click.echo(
                f"{difference.method} on {difference.headline}, trained minus untrained: {figure(found.value)} "
                f"[{figure(found.low)}, {figure(found.high)}], {difference.verdict}"
            )
        print_table("the L1 norm of long sequences", l1_columns, l1_rows)
        click.echo(f"{time.monotonic() - begun:.0f} s; open {comparison.html}; for the L1 norm: lab compare l1_norm")
    losers = sorted({d.method for d in comparison.against_untrained if d.verdict != "better"})
    if losers:
        raise WorkError(f"expected training to beat the untrained network (paired 95 % interval), but not so: {losers}")
    return comparison
