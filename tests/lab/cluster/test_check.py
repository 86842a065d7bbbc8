"""A cluster that is wrong must be refused before it is paid for."""

from pathlib import Path

import pytest
import yaml

from lab.cluster import check
from lab.errors import RequestError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config() -> dict:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def written(tmp_path: Path, config: dict) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_the_shipped_cluster_passes_rays_own_validation():
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text())))


def test_the_shipped_cluster_has_a_small_head_cpu_workers_and_gpu_workers():
    summary = check(ROOT / "cluster.yaml")
    assert summary.provider == "aws"
    assert summary.nodes[summary.head][0]["CPU"] == 0, "no trial may run on the head"
    workers = [resources for name, (resources, _, most) in summary.nodes.items() if name != summary.head and most > 0]
    assert any("GPU" in resources for resources in workers)
    assert any("GPU" not in resources for resources in workers)


def test_the_shipped_cluster_runs_the_ray_of_the_constraints(config):
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    (version,) = [line.removeprefix("ray==") for line in constraints if line.startswith("ray==")]
    images = [config["docker"]["image"], config["available_node_types"]["gpu_worker"]["docker"]["worker_image"]]
    assert all(f":{version}-py311" in image for image in images)
    assert any("constraints.txt" in command for command in config["setup_commands"])


def test_the_shipped_cluster_ships_the_token_and_keeps_it_private(config):
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in command for command in config["setup_commands"])


def test_a_cluster_without_a_token_is_refused(tmp_path, config):
    config["worker_start_ray_commands"] = ["ray start --address=$RAY_HEAD_IP:6379"]
    with pytest.raises(RequestError, match=r"RAY_AUTH_MODE=token.*worker_start_ray_commands"):
        check(written(tmp_path, config))


def test_a_token_for_another_command_is_no_token(tmp_path, config):
    config["worker_start_ray_commands"] = ["RAY_AUTH_MODE=token true; ray start --address=$RAY_HEAD_IP:6379"]
    with pytest.raises(RequestError, match="RAY_AUTH_MODE=token"):
        check(written(tmp_path, config))


def test_a_dashboard_for_everybody_is_refused(tmp_path, config):
    config["head_start_ray_commands"] = [
        command.replace("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0")
        for command in config["head_start_ray_commands"]
    ]
    with pytest.raises(RequestError, match=r"127\.0\.0\.1.*0\.0\.0\.0"):
        check(written(tmp_path, config))


def test_an_image_of_another_ray_is_refused(tmp_path, config):
    for tag in ("2.9.0-py311", "latest-py311"):
        config["docker"]["image"] = f"rayproject/ray:{tag}"
        with pytest.raises(RequestError, match=rf"Ray \d+\.\d+\.\d+.*{tag}"):
            check(written(tmp_path, config))


def test_a_field_outside_rays_schema_is_named(tmp_path, config):
    config["idle_timeout"] = 5
    with pytest.raises(RequestError, match="idle_timeout"):
        check(written(tmp_path, config))


@pytest.mark.parametrize(("text", "message"), [("a: [", "YAML"), ("- 1", "mapping"), ("cluster_name: x", "schema")])
def test_what_is_not_a_cluster_file_gets_one_line(tmp_path, text, message):
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=message) as caught:
        check(path)
    assert "\n" not in str(caught.value)
