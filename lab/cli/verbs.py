"""The verbs, and nothing else."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from lab.cli.options import data_dir_option, json_option
from lab.cli.parity import parity
from lab.cli.table import table
from lab.console import Name, Verbs, busy, emit, figure, print_aside, print_table, progress, run_cli
from lab.errors import WorkError

__all__ = ["cli", "main"]

# Ray, torch and MLflow are imported by the verbs that need them: `lab --help` answers at once.

_SHOWN = 32
"""Trials of a run that are printed; `--json` has all."""

_FIELDS = {
    "runner": click.option(
        "--runner",
        type=Name("runner", ["stock", "fast"]),
        help="What samples and learns, where an experiment has the choice, as table_ppo: RLlib's own, or faster parts "
        "in its place. The same as runner=...  [default: the configuration's]",
    ),
    "data_dir": click.option(
        "--data-dir",
        type=click.Path(),
        help="Folder of the data sets that do not come with the lab, for parity. The same as data_dir=...",
    ),
    "continue_from": click.option(
        "--continue-from",
        help="A checkpoint folder, or a run, to begin with, for parity. The same as continue_from=...",
    ),
    "only_test": click.option(
        "--only-test",
        is_flag=True,
        default=None,
        help="Train nothing: measure the best network of --continue-from. The same as only_test=true",
    ),
}
"""Config fields that have an option of their own."""


def field_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Gives a verb an option for each of `_FIELDS`; it gets what was given as one mapping, `fields`."""

    @functools.wraps(verb)
    def gathered(**options: Any) -> None:
        fields = {name: options.pop(name) for name in _FIELDS}
        verb(fields=fields, **options)

    wrapped: Callable[..., None] = gathered
    for option in reversed(_FIELDS.values()):
        wrapped = option(wrapped)
    return wrapped


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lookup-lab")
def cli() -> None:
    """Learns lookup tables for stateless load balancers, sweeps, compares.

    \b
    Runs are kept under ./runs, or $LAB_RUNS. --debug shows tracebacks.
    Exit status: 0, 1 (the work failed), 2 (the request was wrong).
    """


def main() -> None:
    """The command `lab`."""
    run_cli(cli)


@cli.command("list", epilog="Example: lab list tables")
@click.argument("what", type=Name("thing to list", ["all", "experiments", "tables", "suites", "runs"]), default="all")
@json_option
def list_(what: str, as_json: bool) -> None:
    """List experiments and presets, table builders, suites and runs."""
    from lab.listing import listing

    sections = listing(["experiments", "tables", "suites", "runs"] if what == "all" else [what])
    if as_json:
        emit({name: section.records for name, section in sections.items()})
        return
    for name, section in sections.items():
        print_table(name, section.columns, section.rows())


@cli.command(epilog="Example: lab train table_supervised --preset quick learning_rate=3e-3 --seeds 2")
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--preset", default="default", show_default=True, help="Named configuration to start from (see lab list)."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the first trial.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trials that differ in the seed alone."
)
@field_options
@json_option
def train(
    experiment: str,
    overrides: tuple[str, ...],
    preset: str,
    seed: int,
    seeds: int,
    fields: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Train an EXPERIMENT in this process, once for each seed."""
    from lab.work import start_train

    _report_run(start_train(experiment, preset, overrides, seed=seed, seeds=seeds, fields=fields), as_json)


@cli.command(
    epilog="Example: lab sweep table_supervised --samples 32 --search optuna --scheduler asha --max-concurrent 2"
)
@click.argument("experiment")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--preset", default="default", show_default=True, help="Named configuration that the search space is laid over."
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="Trials; a grid takes as many as it has points.  [default: the experiment's]",
)
@click.option(
    "--search",
    type=Name("search", ["random", "grid", "optuna"]),
    help="How configurations are chosen.  [default: the experiment's]",
)
@click.option(
    "--scheduler",
    type=Name("scheduler", ["none", "asha", "pbt"]),
    help="How trials are cut short.  [default: the experiment's]",
)
@click.option(
    "--grid-points", type=click.IntRange(min=2), help="Values of each domain that is not a list, for --search grid."
)
@click.option(
    "--max-concurrent",
    type=click.IntRange(min=1),
    help="Trials at once; a shard counts as one.  [default: one a core; on a cluster, all that fit]",
)
@click.option(
    "--fuse",
    type=Name("fuse", ["auto", "off"]),
    default="auto",
    show_default=True,
    help="Train trials of one architecture as one, in shards, where the experiment allows it: for random and grid "
    "searches, with no scheduler or asha, which then halves within each shard. optuna and pbt train each alone.",
)
@click.option(
    "--shard-memory",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    default=2.0,
    show_default=True,
    help="Memory that the training of one shard may take; it bounds the number of its trials.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the search.")
@click.option("--address", help="A running Ray cluster (auto, or host:port).  [default: a local Ray]")
@click.option(
    "--storage",
    help="Checkpoints go here: a path that all nodes see, or a bucket (s3://...).  [default: the run folder]",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A file with a grid in place of the search space: for parity, one of the parity-models reference.",
)
@field_options
@json_option
def sweep(experiment: str, overrides: tuple[str, ...], preset: str, as_json: bool, **options: Any) -> None:
    """Sweep an EXPERIMENT's search space with Ray Tune."""
    from lab.work import start_sweep

    _report_run(start_sweep(experiment, preset, overrides, **options), as_json)


@cli.command(epilog="Example: lab resume table_supervised/20261120T092915Z-ab12cd")
@click.argument("run")
@json_option
def resume(run: str, as_json: bool) -> None:
    """Finish a RUN that was interrupted or killed: the same trials, none lost, none twice."""
    from lab.work import resume as resume_run

    _report_run(resume_run(run), as_json)


@cli.command(epilog="Example: lab compare table_supervised table_ppo --suite churn-47 --out report")
@click.argument("runs", nargs=-1)
@click.option(
    "--suite", "suites", multiple=True, help="A suite to score on; may be repeated.  [default: scenarios-47, churn-47]"
)
@click.option(
    "--builder", "builders", multiple=True, help="A classical builder to include; may be repeated.  [default: all]"
)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("report"), show_default=True, help="Folder of the report."
)
@click.option(
    "--count",
    type=click.IntRange(min=20),
    help="Score the first pairs of a suite only, or read so many sequences or test samples; the report says so.",
)
@click.option("--force", is_flag=True, help="Replace an earlier report in that folder.")
@data_dir_option
@json_option
def compare(
    runs: tuple[str, ...],
    suites: tuple[str, ...],
    builders: tuple[str, ...],
    out: Path,
    count: int | None,
    force: bool,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Compare trained RUNs of one kind: tables, with the classical builders, networks for the L1 norm, or codes that
    rebuild predictions (default: the newest table of each experiment)."""
    import experiments  # noqa: F401  (importing the package registers them: each says which kind its runs are)
    from lab.compare import compare_runs

    with progress("comparing") as update:
        comparison = compare_runs(
            runs, suites, out, builders=builders, data_dir=data_dir, count=count, force=force, progress=update
        )
    if as_json:
        emit(comparison.content)
        return
    for title, columns, rows in comparison.tables():
        print_table(title, columns, rows)
    click.echo(str(comparison.html))


@cli.command(epilog="Example: lab watch --tensorboard-port 6007")
@click.option(
    "--tensorboard-port", type=click.IntRange(0, 65535), default=6006, show_default=True, help="0 takes a free one."
)
@click.option(
    "--mlflow-port", type=click.IntRange(0, 65535), default=5000, show_default=True, help="0 takes a free one."
)
@json_option
def watch(tensorboard_port: int, mlflow_port: int, as_json: bool) -> None:
    """Serve TensorBoard and MLflow over all runs, on loopback, until Ctrl-C."""
    import signal
    from contextlib import ExitStack

    from lab.paths import runs_root
    from lab.watch import serve, wait

    # Whatever ends this process ends the servers too, also where a shell had it ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        with busy("starting both servers"):
            served = serve(runs_root(), tensorboard_port=tensorboard_port, mlflow_port=mlflow_port)
            pages = stack.enter_context(served)
        if as_json:
            emit({page.name.lower(): page.url for page in pages})
        else:
            for page in pages:
                click.echo(f"{page.name:12} {page.url}")
            click.echo("Ctrl-C ends both.", err=True)
        wait(pages)


cli.add_command(table)
cli.add_command(parity)


@cli.command(epilog="Example: lab doctor")
@json_option
def doctor(as_json: bool) -> None:
    """Look at this machine and say what to do about it."""
    from dataclasses import asdict

    from lab.doctor import examine

    findings = []
    steps = examine()
    while True:
        with busy("looking"):
            finding = next(steps, None)
        if finding is None:
            break
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.state:4}  {finding.subject:16}  {finding.detail}  →  {finding.advice}")
    if as_json:
        emit([asdict(finding) for finding in findings])
    bad = [finding.subject for finding in findings if finding.state == "bad"]
    if bad:
        raise WorkError(f"{len(bad)} of {len(findings)} findings are bad: {', '.join(bad)}")


@cli.command(epilog="Example: lab demo")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: a new one under the runs folder]"
)
@json_option
def demo(out: Path | None, as_json: bool) -> None:
    """Sweep PPO, the supervised table and the L1 norm, and compare: three minutes on two cores."""
    from lab.demo import demo as run_demo

    run_demo(out, as_json=as_json)


@cli.group(cls=Verbs)
def cluster() -> None:
    """Look after a cluster."""


@cluster.command("check", epilog="Example: lab cluster check cluster.yaml")
@click.argument("path", type=click.Path(path_type=Path), default=Path("cluster.yaml"))
@json_option
def cluster_check(path: Path, as_json: bool) -> None:
    """Check a cluster file before `ray up` spends money on it."""
    from dataclasses import asdict

    from lab.cluster import check

    summary = check(path)
    if as_json:
        emit(asdict(summary))
        return
    rows = [
        (
            name + (" (head)" if name == summary.head else ""),
            ", ".join(f"{k} {v:g}" for k, v in resources.items()),
            f"{least}–{most}",
        )
        for name, (resources, least, most) in summary.nodes.items()
    ]
    print_table(
        f"{summary.name} on {summary.provider}: the file is right", ["node type", "resources of one", "nodes"], rows
    )


def _report_run(run: Any, as_json: bool) -> None:
    """Prints how the trials of a run ended, and of a training where its time went, on standard error."""
    from lab.listing import run_record
    from lab.timing import render, total

    record = run_record(run)
    timing = None
    if run.manifest.kind == "train":
        timings = run.timings()
        timing = record["timing"] = total(timings.values()) if timings else None
    if as_json:
        emit(record)
    else:
        trials = record["trials"]
        title = run.name
        if len(trials) > _SHOWN:
            sign = 1 if run.manifest.mode == "min" else -1
            trials = sorted(trials, key=lambda trial: (trial["best"] is None, sign * (trial["best"] or 0.0)))[:_SHOWN]
            ended = Counter(trial["status"] for trial in record["trials"])
            counts = ", ".join(f"{count} {status}" for status, count in ended.items())
            title += f": the best {_SHOWN} of {len(record['trials'])} trials ({counts})"
        rows = [
            (
                str(trial["trial"]),
                trial["status"],
                str(trial["iteration"]),
                figure(trial["best"]),
                trial["reason"] or "",
            )
            for trial in trials
        ]
        print_table(title, ["trial", "status", "iterations", f"best {run.manifest.metric}", "reason"], rows)
        click.echo(str(run.folder))
    if timing is not None:
        title = "where the time went"
        if len(run.trials) > 1:
            title += f", {len(timings)} of {len(run.trials)} trials"
        print_aside(render(timing, title))
