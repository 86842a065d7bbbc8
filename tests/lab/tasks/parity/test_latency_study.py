"""Serving with real models: answers are those of the models, in a simulation and on actors that answer in real time."""

import json
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import experiments  # noqa: F401  # registers them
from lab.cli import cli
from lab.errors import RequestError
from lab.experiment import get
from lab.sweep.cluster import ray_session
from lab.tasks.parity.latency.actors import answer_in_time
from lab.tasks.parity.latency.answers import Stream, service_of
from lab.tasks.parity.latency.config import MODES, ServingConfig
from lab.tasks.parity.latency.simulation import simulate
from lab.tasks.parity.latency.study import study
from lab.training import run_training


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_RUNS", str(folder))
        small = {"iterations": 2, "epochs": 1, "base_epochs": 3}
        yield [run_training(get("parity"), preset="quick", overrides={**small, "k": k}).name for k in (2, 3)]


def test_second_answers_are_decoded_from_what_else_arrived(runs):
    service = service_of(runs[1])
    stream = Stream(service, 100, 0)
    own, second = stream.right("parity")
    data, scheme = service.data, service.scheme
    with torch.no_grad():
        inputs = data.scaled(data.test.inputs[torch.from_numpy(stream.places[:3])])
        predictions = service.predict(inputs)
        parity = scheme.parity_models[0](scheme.encoder(inputs[None])[0])
        # Addition and subtraction: what is missing is the parity answer less the others.
        rebuilt = torch.stack([parity[0] - predictions.sum(0) + each for each in predictions])
    assert own[:3].tolist() == (predictions.argmax(1).numpy() == stream.labels[:3]).tolist()
    assert second[:3].tolist() == (rebuilt.argmax(1).numpy() == stream.labels[:3]).tolist()
    # 99 queries are in groups; the last one has no second answer but its own.
    assert second[99] == own[99]
    assert stream.right("replication")[1].tolist() == own.tolist()


def test_a_study_says_what_each_mode_costs_and_gives(runs, tmp_path):
    found = study(runs, ServingConfig(queries=3000), tmp_path, "simulation")
    assert [each.label for each in found.outcomes][:4] == ["none", "equal", "replication", "cheap"]
    assert [each.label.split(" ")[:2] for each in found.outcomes[4:]] == [["parity", "k=2"], ["parity", "k=3"]]
    assert [each.servers for each in found.outcomes] == [12, 18, 24, 18, 18, 16]
    written = json.loads((tmp_path / "latency.json").read_text())
    assert [mode["p999"] for mode in written["modes"]] == [each.p999 for each in found.outcomes]
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")
    none = found.outcomes[0]
    assert none.second == 0
    assert none.second_accuracy is None
    assert none.p50 <= none.p99 <= none.p999


@pytest.mark.parametrize("backend", ["simulation", "ray"])
def test_only_the_modes_that_are_asked_for_are_served(runs, tmp_path, monkeypatch, backend):
    """A mode takes a minute and more in real time."""
    served = []

    def serve(config, mode, stream=None):
        served.append(mode)
        found = simulate(config, mode)
        return found if stream is None else (found, found.second)

    monkeypatch.setattr("lab.tasks.parity.latency.study.simulate", serve)
    monkeypatch.setattr("lab.tasks.parity.latency.study.answer_in_time", serve)
    monkeypatch.setattr("lab.tasks.parity.latency.study.ray_session", lambda address: nullcontext())
    words = ["parity", "simulate", *runs, "queries=50", "--backend", backend, "--json", "--out"]

    def rows(*modes):
        asked = [word for mode in modes for word in ("--mode", mode)]
        done = CliRunner().invoke(cli, [*words, str(tmp_path / "-".join(["out", *modes])), *asked])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["modes"]

    every = rows(*MODES)
    assert served == ["none", "equal", "replication", "cheap", "parity", "parity"]
    assert rows() == every
    served.clear()
    assert rows("parity", "none", "parity") == [every[0], *every[4:]]
    assert served == ["none", "parity", "parity"]
    served.clear()
    assert rows("cheap") == [every[3]]
    assert served == ["cheap"]


@pytest.mark.ray
@pytest.mark.slow
def test_actors_in_real_time_give_the_models_own_answers(runs):
    service = service_of(runs[0])
    config = ServingConfig(queries=60, servers=2, service=0.03, k=2, patience=0.0)
    stream = Stream(service, 60, 0)
    own, second = stream.right("parity")
    with ray_session(None):
        served, right = answer_in_time(config, "parity", stream)
    assert np.isfinite(served.latency).all()
    assert served.servers == simulate(config, "parity").servers == 3
    assert right[~served.second].tolist() == own[~served.second].tolist()
    agreed = right[served.second] == second[served.second]
    assert agreed.mean() > 0.9 if served.second.any() else True


def test_the_verb_prints_a_table_and_refuses_to_overwrite(runs, tmp_path):
    runner = CliRunner()
    arguments = ["parity", "simulate", runs[0], "queries=500", "--out", str(tmp_path / "out")]
    first = runner.invoke(cli, arguments)
    assert first.exit_code == 0, first.output
    assert "parity k=2" in first.output
    again = runner.invoke(cli, arguments)
    assert isinstance(again.exception, RequestError)
    assert "--force" in str(again.exception)
    assert runner.invoke(cli, [*arguments, "--force", "--json"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-run"], "no-such-run"),
        (["{run}", "load=2"], "load"),
        (["{run}", "qeries=3"], "Did you mean 'queries'"),
        (["{run}", "--mode", "none", "--mode", "party"], "unknown mode 'party'.* Did you mean 'parity'"),
        (["{run}#7"], "called 7"),
        (["{run}#best"], "expected the number of a trial after the #"),
    ],
)
def test_what_cannot_be_served_is_refused(runs, tmp_path, arguments, message):
    given = [each.replace("{run}", runs[0]) for each in arguments]
    found = CliRunner().invoke(cli, ["parity", "simulate", *given, "--out", str(tmp_path)])
    assert isinstance(found.exception, RequestError)
    assert re.search(message, str(found.exception))
    assert not list(tmp_path.iterdir())
