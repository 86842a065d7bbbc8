"""`lab parity`: serving with parity models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lab.cli.options import data_dir_option, json_option
from lab.console import Name, Verbs, emit, print_table, progress

__all__ = ["parity"]


@click.group(cls=Verbs)
def parity() -> None:
    """Serve queries with parity models."""


@parity.command(
    "simulate", epilog="Example: lab parity simulate parity --mode none --mode parity load=0.7 --out latency"
)
@click.argument("arguments", nargs=-1, required=True, metavar="RUN... [KEY=VALUE]...")
@click.option(
    "--backend",
    type=Name("backend", ["simulation", "ray"]),
    default="simulation",
    show_default=True,
    help="A discrete-event simulation, or real models on Ray actors in real time.",
)
@click.option(
    "--mode",
    "modes",
    type=Name("mode", ["none", "equal", "replication", "parity", "cheap"]),
    multiple=True,
    help="How queries are protected; may be repeated.  [default: in every way]",
)
@click.option("--out", default="latency", show_default=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--force", is_flag=True, help="Replace results that are there.")
@data_dir_option
@json_option
def parity_simulate(
    arguments: tuple[str, ...],
    backend: Any,
    modes: tuple[Any, ...],
    out: Path,
    force: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Serve the same queries while servers slow down and hang, with parity models and without.

    RUN is a run of parity models; several are compared, each with its k. KEY=VALUE sets a field of the cluster, such as
    queries, servers, load, service, slow_every, slow_factor, hang_every, patience, seed. With ray a query takes real
    time: there are 2,000 of them, on 4 servers, unless said otherwise.
    """
    from lab.config import parse, parse_assignments
    from lab.tasks.parity.latency.config import MODES, ServingConfig
    from lab.tasks.parity.latency.study import refuse_folder, study

    assignments = parse_assignments([each for each in arguments if "=" in each])
    if backend == "ray":
        assignments = {"queries": 2000, "servers": 4, **assignments}
    config = parse(ServingConfig, assignments)
    refuse_folder(out, force=force)
    with progress("serving") as advance:
        runs = [each for each in arguments if "=" not in each]
        found = study(runs, config, out, backend, advance, modes=modes or MODES, data_dir=data_dir)
    if as_json:
        emit({"files": list(map(str, found.files)), "modes": [vars(outcome) for outcome in found.outcomes]})
        return
    rows = [
        (
            each.label,
            str(each.servers),
            *(f"{1000 * value:.1f}" for value in (each.p50, each.p99, each.p999)),
            f"{100 * each.accuracy:.2f}",
            f"{100 * each.second:.2f}",
            "" if each.second_accuracy is None else f"{100 * each.second_accuracy:.1f}",
        )
        for each in found.outcomes
    ]
    columns = ["mode", "servers", "p50 ms", "p99 ms", "p99.9 ms", "right, %", "second answers, %", "of them right, %"]
    print_table("latency", columns, rows)
    for path in found.files:
        click.echo(path)
