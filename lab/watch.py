"""TensorBoard and MLflow's page over the runs, both on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from lab.errors import RequestError, WorkError
from lab.tracking.mlflow import check_database

__all__ = ["Page", "serve", "wait"]

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Page:
    """A server that answers: its name, its address, and its process."""

    name: str
    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def serve(runs: Path, *, tensorboard_port: int, mlflow_port: int, timeout: float = 90.0) -> Iterator[list[Page]]:
    """Serves TensorBoard and MLflow over the folder `runs` until the block ends.

    Args:
        runs: the folder of all runs; `mlflow.db` lies in it.
        tensorboard_port: port on 127.0.0.1; 0 takes a free one.
        mlflow_port: likewise.
        timeout: seconds to wait for both to answer.

    Raises:
        RequestError: there is no such folder, a port is in use, or the MLflow database is corrupt.
        WorkError: a server ended, or did not answer in time.
    """
    if not runs.is_dir():
        raise RequestError(
            f"expected a folder of runs, but there is none at {runs}: train something first, or set LAB_RUNS"
        )
    database = runs / "mlflow.db"
    check_database(database)
    if tensorboard_port and tensorboard_port == mlflow_port:
        raise RequestError(f"expected two different ports, but got {mlflow_port} for both")
    ports = [_free_port(tensorboard_port, "TensorBoard"), _free_port(mlflow_port, "MLflow")]
    tensorboard = [
        sys.executable,
        "-m",
        "tensorboard.main",
        "--logdir",
        str(runs),
        "--host",
        _HOST,
        "--port",
        str(ports[0]),
    ]
    mlflow = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{database}"]
    mlflow += [
        "--default-artifact-root",
        str(runs / "mlflow-artefacts"),
        "--host",
        _HOST,
        "--port",
        str(ports[1]),
        "--workers",
        "1",
    ]
    with ExitStack() as stack:
        pages = []
        for name, command, port in (("TensorBoard", tensorboard, ports[0]), ("MLflow", mlflow, ports[1])):
            process = stack.enter_context(_running(command))
            pages.append(Page(name, f"http://{_HOST}:{port}/", process))
        for page in pages:
            _answers(page, timeout)
        yield pages


def wait(pages: list[Page]) -> NoReturn:
    """Waits for as long as all pages are served.

    Raises:
        WorkError: one of the servers ended.
    """
    while True:
        for page in pages:
            if page.process.poll() is not None:
                raise WorkError(f"{page.name} ended with status {page.process.returncode}")
        time.sleep(0.5)


def _free_port(port: int, name: str) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            flag = f"--{name.lower()}-port"
            raise RequestError(
                f"expected a free port for {name}, but {port}: {error.strerror}; choose another with {flag}"
            ) from None
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    # A process group of its own: MLflow's server has workers, and they must end with it.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        for signal_number in (15, 9):
            try:
                os.killpg(process.pid, signal_number)
            except ProcessLookupError:
                break
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue


def _answers(page: Page, timeout: float) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if page.process.poll() is not None:
            raise WorkError(f"{page.name} ended with status {page.process.returncode} before it answered at {page.url}")
        try:
            # A proxy has no business with loopback.
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(page.url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise WorkError(f"{page.name} did not answer at {page.url} within {timeout:.0f} s")
