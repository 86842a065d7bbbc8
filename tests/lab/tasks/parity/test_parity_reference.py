"""The reference's files run as they are, and what is wrong with one is said before anything is trained."""

import json

import pytest

import experiments  # noqa: F401  # registers them
from lab.cli import cli
from lab.console import run_cli
from lab.errors import RequestError
from lab.experiment import get
from lab.paths import list_runs
from lab.sweep.plan import with_axes
from lab.sweep.space import grid
from lab.tasks.parity import read_reference, result_texts

ADDITION = ["coders.summation.AdditionEncoder", "coders.summation.SubtractionDecoder"]
LEARNED = ["coders.mlp.MLPEncoder", "coders.mlp.MLPDecoder"]
FILE = {
    "num_epoch": 500,
    "k_vals": [2, 3, 4],
    "enc_dec_types": [ADDITION],
    "datasets": ["mnist"],
    "models": ["base-mlp", "resnet18"],
    "losses": ["torch.nn.MSELoss"],
    "train_encoder": False,
    "train_parity_model": True,
    "train_decoder": False,
}


def write(tmp_path, **changes):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**FILE, **changes}))
    return path


def points(path):
    found, experiment = read_reference(path), get("parity")
    return [
        experiment.resolve("default", {**found.fields, **point})
        for point in grid(with_axes(experiment, found.axes).space, None)
    ]


def test_lists_become_one_grid_in_either_spelling(tmp_path):
    configs = points(write(tmp_path))
    assert [(config.model, config.k) for config in configs] == [(m, k) for m in ("mlp", "resnet18") for k in (2, 3, 4)]
    short = write(tmp_path, enc_dec_types=[["add", "sub"]], losses=["mse"])
    assert points(short) == configs
    assert {(config.code, config.loss) for config in configs} == {("addition/subtraction", "mse")}
    assert {(config.iterations, config.epochs, config.schedule) for config in configs} == {(500, 1, "constant")}
    assert [config.groups_in_batch for config in configs[:3]] == [64, 32, 32]
    assert {(config.optimiser, config.learning_rate, config.weight_decay) for config in configs} == {
        ("adam", 1e-3, 1e-5)
    }


def test_a_learned_coder_around_the_base_model_itself(tmp_path):
    path = write(
        tmp_path, enc_dec_types=[LEARNED], train_encoder=True, train_decoder=True, train_parity_model=False, k_vals=[2]
    )
    config = points(path)[0]
    assert config.trained == ("encoder", "decoder")
    assert config.parity_init == "base"


def test_every_data_set_and_model_of_the_reference_has_a_name_here(tmp_path):
    for dataset, model in (("gcommands", "vgg11"), ("gcommands", "lenet"), ("cifar100", "resnet152")):
        assert points(write(tmp_path, datasets=[dataset], models=[model], k_vals=[2]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_epoch": "500"}, "num_epoch of at least 1 .* '500'"),
        ({"num_epoch": 0}, "num_epoch of at least 1 .* 0"),
        ({"num_epoch": True}, "num_epoch of at least 1 .* True"),
        ({"k_vals": 2}, "k_vals to be a list of integers .* 2"),
        ({"k_vals": []}, "k_vals to be a list of integers"),
        ({"k_vals": [2, 2.5]}, "k_vals to be a list of integers"),
        ({"k_vals": [2, 3, 2]}, "2 is given twice"),
        ({"enc_dec_types": ADDITION}, "pairs of an encoder and a decoder"),
        ({"enc_dec_types": [[*ADDITION, "x"]]}, "pairs of an encoder and a decoder"),
        ({"datasets": "mnist"}, "datasets to be a list of names .* 'mnist'"),
        ({"train_encoder": 0}, "train_encoder to be true or false .* 0"),
        ({"num_epochs": 3}, "unknown key .*'num_epochs'.*Did you mean 'num_epoch'"),
        ({"models": ["resnet19"]}, "unknown model 'resnet19'.*Did you mean 'resnet18'"),
        ({"losses": ["os.system"]}, "unknown loss 'os.system'"),
        ({"enc_dec_types": [["os.system", "sub"]]}, "unknown encoder 'os.system'"),
        ({"enc_dec_types": [LEARNED]}, "encoder is frozen, but it is not loaded"),
        ({"train_encoder": True}, "has no weights"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, changes, message):
    with pytest.raises(RequestError, match=message) as caught:
        points(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", FILE)
def test_a_missing_key_is_named(tmp_path, key):
    path = write(tmp_path)
    path.write_text(json.dumps({name: value for name, value in FILE.items() if name != key}))
    with pytest.raises(RequestError, match=f"expected the key '{key}'"):
        read_reference(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "a JSON object"), ("{", "is not JSON"), (None, "no such file")],
)
def test_what_is_no_such_file_is_refused(tmp_path, content, message):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RequestError, match=message):
        read_reference(path)


def refused(capsys, *words):
    with pytest.raises(SystemExit) as caught:
        run_cli(cli, list(words))
    assert caught.value.code == 2
    assert list_runs() == []
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_command_line_refuses_what_does_not_go_together(tmp_path, capsys):
    path = str(write(tmp_path))
    assert "no --config with l1_norm" in refused(capsys, "sweep", "l1_norm", "--config", path)
    assert "--data-dir for the data set mnist" in refused(capsys, "sweep", "parity", "--config", path)
    write(tmp_path, datasets=["digits"], models=["base-mlp"])
    assert "no --search with --config" in refused(capsys, "sweep", "parity", "--config", path, "--search", "optuna")
    assert "no --data-dir with l1_norm" in refused(capsys, "train", "l1_norm", "--data-dir", str(tmp_path))
    assert "only_test needs continue_from" in refused(capsys, "train", "parity", "--only-test")
    write(tmp_path, datasets=["digits"], models=["base-mlp", "vgg11"])
    assert "32 x 32 pixels for vgg11" in refused(capsys, "sweep", "parity", "--config", path)


def test_result_files_have_a_line_for_each_report():
    rows = [{"train/degraded_accuracy": 0.5, "validation/reconstruction_top2": 0.75, "test/degraded_top5": 1.0}] * 2
    assert result_texts(rows) == {
        "train_overall_top1.txt": "0.5\n0.5\n",
        "val_reconstruction_top2.txt": "0.75\n0.75\n",
        "test_overall_top5.txt": "1.0\n1.0\n",
    }
