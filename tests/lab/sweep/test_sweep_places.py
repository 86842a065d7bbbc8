"""Storage and clusters: what is refused before it costs anything."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from pyarrow import fs
from ray import tune
from toy import toy

from lab.errors import RequestError
from lab.paths import list_runs
from lab.sweep import run_sweep
from lab.sweep import storage as storage_module
from lab.sweep.cluster import environment, fits_here, live_nodes, node_sees, ray_session
from lab.sweep.halt import Halt
from lab.sweep.storage import Storage, check_nodes, open_storage


def test_a_local_storage_on_several_nodes_has_to_be_seen_by_each(tmp_path: Path) -> None:
    nodes = {"n1": "10.0.0.1", "n2": "10.0.0.2", "n3": "10.0.0.3"}
    asked = []

    def sees(node: str, path: str) -> bool:
        asked.append(node)
        return node == "n1" and Path(path).exists()

    with pytest.raises(RequestError) as caught:
        check_nodes(tmp_path, nodes, sees)
    assert "that all 3 nodes see" in str(caught.value)
    assert str(caught.value).endswith("is not there on 10.0.0.2, 10.0.0.3")
    assert asked == ["n1", "n2", "n3"]
    check_nodes(tmp_path, nodes, lambda node, path: Path(path).exists())
    assert list(tmp_path.iterdir()) == [], "the probe is taken away"


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_each_node_is_asked_by_a_task_of_its_own(tmp_path: Path) -> None:
    (node,) = live_nodes()
    (tmp_path / "there").touch()
    assert node_sees(node, str(tmp_path / "there"))
    assert not node_sees(node, str(tmp_path / "gone"))


def test_a_bucket_names_its_checkpoints_by_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def folder_as_bucket(uri: str) -> tuple[fs.FileSystem, str]:
        return fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), uri.removeprefix("s3://")

    monkeypatch.setattr(storage_module, "resolve_bucket", folder_as_bucket)
    storage = open_storage("s3://bucket/lab/")
    assert (storage.scheme, storage.root) == ("s3", "bucket/lab")
    assert list((tmp_path / "bucket/lab").iterdir()) == []
    (tmp_path / "bucket/lab/checkpoint").mkdir()
    (tmp_path / "bucket/lab/checkpoint/state").write_text("7")
    address = storage.address(tune.Checkpoint("bucket/lab/checkpoint", filesystem=storage.filesystem))
    assert address == "s3://bucket/lab/checkpoint"
    found = storage.checkpoint(address)
    assert found is not None
    with found.as_directory() as folder:
        assert (Path(folder) / "state").read_text() == "7"
    assert storage.checkpoint("s3://bucket/lab/gone") is None


def test_a_checkpoint_that_was_deleted_is_none(tmp_path: Path) -> None:
    assert Storage(str(tmp_path)).checkpoint(str(tmp_path / "gone")) is None
    assert Storage(str(tmp_path)).checkpoint(None) is None


def test_a_journal_cannot_name_a_folder_outside_the_storage(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "storage" / "link").symlink_to(tmp_path / "secret")
    here = Storage(str(tmp_path / "storage"))
    bucket = Storage("bucket/lab", "s3", fs.LocalFileSystem())
    for place, address in [
        (here, tmp_path / "secret"),
        (here, tmp_path / "storage/../secret"),
        (here, tmp_path / "storage/link"),
        (here, tmp_path / "storage"),
        (bucket, "s3://bucket/lab2/a"),
        (bucket, "s3://bucket/lab/../a"),
        (bucket, tmp_path / "secret"),
    ]:
        with pytest.raises(RequestError, match=f"under {place.root}, but the journal names"):
            place.checkpoint(str(address))


@pytest.mark.ray
@pytest.mark.usefixtures("ray_here")
def test_a_cluster_whose_head_holds_no_trial_needs_a_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    experiment = toy(resources=lambda config: {"cpu": 1, "gpu": 64})
    with pytest.raises(RequestError, match=r"expected --storage that all nodes see .*, but .* is not there on"):
        run_sweep(experiment, samples=1)
    assert list_runs() == []
    assert fits_here({"cpu": 1})


@pytest.mark.parametrize("address", ["nonsense", "localhost:notaport", "localhost:99999999"])
def test_an_address_that_is_none_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(RequestError, match="expected"), ray_session(address):
        pass


def test_a_cluster_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RequestError, match=f"a Ray cluster at 127.0.0.1:{port}, but"), ray_session(f"127.0.0.1:{port}"):
        pass


def test_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_A", "1")
    monkeypatch.delenv("LAB_B", raising=False)
    with environment({"LAB_A": "2", "LAB_B": "3"}):
        assert (os.environ["LAB_A"], os.environ["LAB_B"]) == ("2", "3")
    assert os.environ["LAB_A"] == "1"
    assert "LAB_B" not in os.environ


def test_the_first_ctrl_c_ends_in_order_and_the_second_at_once() -> None:
    halt = Halt()
    with halt.on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        assert halt.stop_all()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_of_the_driver_ends_the_sweep_and_is_kept() -> None:
    halt = Halt()
    with halt.guard():
        raise ValueError("the first")
    with halt.guard():
        raise ValueError("the second")
    assert halt.raised
    assert str(halt.error) == "the first"
