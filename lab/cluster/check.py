"""Reads a file for Ray's cluster launcher and says what is wrong with it before `ray up` spends money."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from lab.errors import RequestError

__all__ = ["ClusterSummary", "check"]

_IMAGE = re.compile(r"rayproject/ray[^:]*:(?P<version>[^-]+)")
_WITH_TOKEN = re.compile(r"RAY_AUTH_MODE=token\s+(\w+=\S+\s+)*ray start")


@dataclass(frozen=True)
class ClusterSummary:
    """What a cluster file asks for: node type -> resources of one node, least and most nodes of it."""

    name: str
    provider: str
    head: str
    nodes: dict[str, tuple[dict[str, float], int, int]]


def check(path: Path) -> ClusterSummary:
    """Checks a cluster file with Ray's own code and for what the lab asks of a cluster.

    The lab asks for token authentication on every node, a dashboard on loopback, and images of the Ray release that is
    installed here (a driver and a cluster of different releases do not talk).

    Raises:
        RequestError: one line with what was expected and what is there.
    """
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"expected a cluster file at {path}, but got: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"expected YAML in {path}, but it is not text") from None
    except yaml.YAMLError as error:
        raise RequestError(f"expected YAML in {path}, but got: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise RequestError(f"expected a mapping in {path}, but got {type(config).__name__}")
    prepared = _prepare(config, path)
    _check_start_commands(prepared, path)
    _check_images(prepared, path)
    types = prepared["available_node_types"]
    return ClusterSummary(
        name=prepared["cluster_name"],
        provider=prepared["provider"]["type"],
        head=prepared["head_node_type"],
        nodes={
            name: (dict(node["resources"]), node.get("min_workers", 0), node.get("max_workers", 0))
            for name, node in types.items()
        },
    )


def _prepare(config: dict[str, Any], path: Path) -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        prepared: dict[str, Any] = prepare_config(config)
        validate_config(prepared)
    except jsonschema.ValidationError as error:
        where = ".".join(str(part) for part in error.absolute_path) or "the file"
        raise RequestError(f"expected Ray's cluster schema in {path}, but at {where}: {error.message[:200]}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise RequestError(f"expected Ray's cluster schema in {path}, but got: {error}") from None
    return prepared


def _check_start_commands(config: dict[str, Any], path: Path) -> None:
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [command for command in config[key] if "ray start" in command]
        if not starts or any(not _WITH_TOKEN.search(command) for command in starts):
            raise RequestError(
                f"expected RAY_AUTH_MODE=token on `ray start` in {key} of {path}: "
                "without it anybody who reaches a node runs code there"
            )
        for command in starts:
            host = re.search(r"--dashboard-host[= ](\S+)", command)
            if host and host[1] not in ("127.0.0.1", "localhost"):
                raise RequestError(
                    f"expected --dashboard-host=127.0.0.1 in {key} of {path}, but got {host[1]}: "
                    "the dashboard runs code for whoever reaches it"
                )


def _check_images(config: dict[str, Any], path: Path) -> None:
    installed = metadata.version("ray")
    docker = config.get("docker") or {}
    images = [docker.get(key) for key in ("image", "head_image", "worker_image")]
    images += [(node.get("docker") or {}).get("worker_image") for node in config["available_node_types"].values()]
    for image in images:
        found = _IMAGE.match(image or "")
        if found and found["version"] != installed:
            raise RequestError(f"expected images of Ray {installed} in {path}, as installed here, but got {image}")
