"""Looks at the machine and says, line by line, what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from lab.paths import runs_root

__all__ = ["Finding", "examine"]

_GIB = 2**30


@dataclass(frozen=True)
class Finding:
    """One line of `lab doctor`: `ok`, `note` (could be better) or `bad` (something will fail), and what to do."""

    subject: str
    state: Literal["ok", "note", "bad"]
    detail: str
    advice: str


def examine() -> Iterator[Finding]:
    """Yields a finding for each subject, as soon as it is known; the last one starts a small local Ray."""
    yield _python()
    yield from _versions()
    yield _cores()
    yield _gpu()
    yield _compiler()
    yield from _folders()
    yield _shared_memory()
    yield _token()
    yield _ray()


def _python() -> Finding:
    # pip refuses to install the lab on an older one.
    return Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}", "nothing to do")


def _versions() -> Iterator[Finding]:
    wrong = []
    for text in metadata.requires("lookup-lab") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement} is missing")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement} is wanted, {installed} is here")
    if wrong:
        yield Finding("packages", "bad", "; ".join(wrong), "pip install -c constraints.txt -e .")
    else:
        shown = ", ".join(
            f"{name} {metadata.version(name)}" for name in ("ray", "torch", "gymnasium", "numpy", "mlflow")
        )
        yield Finding("packages", "ok", shown, "nothing to do")


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores >= 2:
        return Finding(
            "cores", "ok", str(cores), f"sweeps run up to {cores} trials at once; --max-concurrent sets fewer"
        )
    return Finding("cores", "note", str(cores), "one core works; expect twice the times that README gives")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding("GPU", "ok", names, "train on it with device=cuda")
    return Finding("GPU", "ok", "none that PyTorch can use", "nothing to do: every preset but `full` is made for a CPU")


def _compiler() -> Finding:
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found:
        return Finding("C compiler", "ok", found, "nothing to do")
    return Finding("C compiler", "note", "none found", "install gcc or clang to compile exported tables")


def _folders() -> Iterator[Finding]:
    for subject, folder, least in (
        ("runs folder", runs_root(), 2.0),
        ("temporary folder", Path(tempfile.gettempdir()), 1.0),
    ):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as error:
            advice = (
                "make it writable, or set LAB_RUNS to a folder that is"
                if subject == "runs folder"
                else "set TMPDIR to a writable folder"
            )
            yield Finding(subject, "bad", f"{folder}: {error.strerror}", advice)
            continue
        free = shutil.disk_usage(existing).free / _GIB
        if free < least:
            yield Finding(subject, "bad", f"{folder}: {free:.1f} GiB free", f"free at least {least:g} GiB there")
        else:
            yield Finding(subject, "ok", f"{folder}: writable, {free:.0f} GiB free", "nothing to do")


def _shared_memory() -> Finding:
    shm = Path("/dev/shm")
    if not shm.is_dir():
        return Finding("shared memory", "ok", "no /dev/shm on this system", "nothing to do")
    free = shutil.disk_usage(shm).free / _GIB
    if free < 0.5:
        return Finding(
            "shared memory",
            "note",
            f"/dev/shm: {free:.2f} GiB free",
            "start the container with --shm-size=2g; Ray is slow without",
        )
    return Finding("shared memory", "ok", f"/dev/shm: {free:.1f} GiB free", "nothing to do")


def _token() -> Finding:
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not path.exists():
        return Finding(
            "Ray token",
            "ok",
            "none yet",
            "Ray makes one at its first start; clusters need `ray get-auth-token --generate`",
        )
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(
            "Ray token",
            "note",
            f"{path} has mode {mode:04o}",
            f"chmod 600 {path}: whoever reads it can run code on your Ray",
        )
    return Finding("Ray token", "ok", f"{path}, private", "nothing to do")


def _ray() -> Finding:
    import ray

    from lab.sweep.cluster import ray_session

    try:
        with ray_session(None):
            answer = ray.get(ray.remote(platform.python_version).remote(), timeout=60)
    except Exception as error:  # whatever keeps Ray from starting is the finding
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding("Ray", "bad", f"does not start: {first}", "look at the logs under /tmp/ray/session_latest/logs")
    return Finding("Ray", "ok", f"started and ran a task (Python {answer})", "nothing to do")
