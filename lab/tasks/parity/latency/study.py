"""What each mode comes to: latencies, accuracy, servers; as a table, a figure and JSON."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lab.errors import RequestError
from lab.files import write_bytes, write_json
from lab.sweep.cluster import ray_session
from lab.tasks.parity.latency.actors import answer_in_time
from lab.tasks.parity.latency.answers import Service, Stream, service_of
from lab.tasks.parity.latency.config import MODES, Mode, ServingConfig
from lab.tasks.parity.latency.simulation import Served, simulate

__all__ = ["Outcome", "Study", "refuse_folder", "study"]

Backend = Literal["simulation", "ray"]

_FIGURE, _RESULTS = "latency.png", "latency.json"
_COLORS = ("#1f2328", "#6b7280", "#0060a8", "#b34700", "#00664b", "#a1286a", "#8a6d00", "#7a3e9d")


@dataclass(frozen=True)
class Outcome:
    """One mode.

    Attributes:
        label: `none`, `parity k=2`, ...
        servers: all pools together.
        p50, p99, p999, mean: of the latency, seconds.
        accuracy: share of first answers that are right.
        second: share of queries whose first answer was a second one.
        second_accuracy: share of those that are right; None where there are none.
    """

    label: str
    servers: int
    p50: float
    p99: float
    p999: float
    mean: float
    accuracy: float
    second: float
    second_accuracy: float | None


@dataclass(frozen=True)
class Study:
    """All modes that were asked for.

    Attributes:
        outcomes: one for each.
        files: what was written.
    """

    outcomes: list[Outcome]
    files: list[Path]


def refuse_folder(out: Path, *, force: bool) -> None:
    """Raises RequestError if `out` holds results already, unless they may be replaced."""
    there = [name for name in (_FIGURE, _RESULTS) if (out / name).exists()]
    if there and not force:
        raise RequestError(f"expected a folder without results, but {out / there[0]} is there: --force replaces it")


def study(
    runs: Sequence[str],
    config: ServingConfig,
    out: Path,
    backend: Backend,
    advance: Callable[[int, int, str], None] = lambda done, total, what: None,
    *,
    modes: Collection[Mode] = MODES,
    data_dir: Path | None = None,
) -> Study:
    """Serves the same queries in each mode; the modes without parity use the base model of the first run.

    Args:
        runs: of parity models (`lab.tasks.parity.latency.answers.service_of`); each gives its k and r.
        config: the cluster; its k and r are those of each run.
        out: folder of `latency.png` and `latency.json`.
        backend: `simulation`, or `ray`, which answers in real time on actors.
        advance: told how many modes are done of how many, and which is next.
        modes: which; they are served in the order of `MODES`, parity last.
        data_dir: where the data sets are now; where each training had them if it is None.

    Raises:
        RequestError: a run that cannot be served.
        WorkError: the folder cannot be written.
    """
    services = [service_of(name, data_dir) for name in runs]
    plain = [mode for mode in MODES if mode in modes and mode != "parity"]
    plans: list[tuple[str, Mode, Service]] = [(mode, mode, services[0]) for mode in plain]
    for service in services if "parity" in modes else ():
        shape = f"k={service.config.k}" + (f", r={service.config.r}" if service.config.r > 1 else "")
        plans.append((f"parity {shape}" + (f" {service.config.code}" if len(services) > 1 else ""), "parity", service))
    outcomes, latencies = [], {}
    with ExitStack() as stack:
        if backend == "ray":
            stack.enter_context(ray_session(None))
        for number, (label, mode, service) in enumerate(plans):
            advance(number, len(plans), label)
            cluster = config.model_copy(update={"k": service.config.k, "r": service.config.r})
            stream = Stream(service, config.queries, config.seed)
            if backend == "ray":
                served, right = answer_in_time(cluster, mode, stream)
            else:
                served = simulate(cluster, mode)
                own, second = stream.right(mode)
                right = np.where(served.second, second, own)
            outcomes.append(_outcome(label, served, right))
            latencies[label] = served.latency
        advance(len(plans), len(plans), "drawing")
    results = {
        "backend": backend,
        "runs": [service.name for service in services],
        "cluster": config.model_dump(),
        "modes": [asdict(outcome) for outcome in outcomes],
    }
    write_bytes(out / _FIGURE, _draw(outcomes, latencies, config, backend))
    write_json(out / _RESULTS, results)
    return Study(outcomes, [out / _FIGURE, out / _RESULTS])


def _outcome(label: str, served: Served, right: NDArray[np.bool_]) -> Outcome:
    p50, p99, p999 = (float(value) for value in np.quantile(served.latency, (0.5, 0.99, 0.999)))
    second = served.second
    return Outcome(
        label,
        served.servers,
        p50,
        p99,
        p999,
        float(served.latency.mean()),
        float(right.mean()),
        float(second.mean()),
        float(right[second].mean()) if second.any() else None,
    )


def _draw(outcomes: list[Outcome], latencies: dict[str, Any], config: ServingConfig, backend: Backend) -> bytes:
    """The share of queries that wait longer than a time, a line a mode: a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = Figure(figsize=(9, 5.4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for outcome, color in zip(outcomes, _COLORS * 4, strict=False):
        waited = np.sort(latencies[outcome.label]) * 1000
        longer = 1 - np.arange(1, len(waited) + 1) / len(waited)
        label = f"{outcome.label}: {outcome.servers} servers, {100 * outcome.accuracy:.1f} % right"
        axes.plot(waited[:-1], longer[:-1], color=color, lw=2 if "parity" in outcome.label else 1.4, label=label)
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.set_ylim(max(1e-4, 1 / config.queries), 1)
    for share, name in ((0.5, "p50"), (0.01, "p99"), (0.001, "p99.9")):
        axes.axhline(share, color="#9aa0a6", lw=0.8, ls=":", zorder=0)
        axes.annotate(name, (1, share), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("latency (ms)")
    axes.set_ylabel("share of queries that wait longer")
    how = "simulated" if backend == "simulation" else "Ray actors"
    axes.set_title(f"{config.queries:,} queries at {config.rate:,.0f} a second, {how}", loc="left")
    axes.legend(frameon=False, fontsize=9, loc="upper right", bbox_to_anchor=(0.94, 0.98))
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=120)
    return made.getvalue()
