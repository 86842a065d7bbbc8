"""A training that counts wrongly, or does not go on as it was, would make every figure that rests on it worthless."""

import shutil
import sys

import numpy as np
import pytest
import torch
from torch import nn

from lab.config import parse
from lab.errors import RequestError
from lab.files import read_json, write_json
from lab.tasks.parity import ParityConfig, check, fit
from lab.tasks.parity import fit as fit_function
from lab.tasks.parity.codes import DECODERS, ENCODERS, Fallback, Parity
from lab.tasks.parity.data import Dataset, Part, load
from lab.tasks.parity.groups import Augmentation, fixed_groups, shuffled_groups
from lab.tasks.parity.losses import loss_of
from lab.tasks.parity.measures import measure
from lab.tasks.parity.models import MODELS, begin_as, make_model
from lab.tasks.parity.scheme_of import make_scheme

TINY = {"iterations": 3, "epochs": 1, "base_epochs": 1, "batch_groups": 128}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Base models are trained once for all tests here."""
    return str(tmp_path_factory.mktemp("base-models"))


def run(cache, folder=None, resume=None, **fields):
    rows = []

    def report(metrics, checkpoint=None):
        rows.append({name: value for name, value in metrics.items() if name != "seconds"})
        if checkpoint is not None and folder is not None:
            shutil.copytree(checkpoint, folder / str(int(metrics["iteration"])))

    fit(parse(ParityConfig, {**TINY, "cache_dir": cache, **fields}), report, resume=resume)
    return rows


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"code": "mlp/mlp", "loss": "kl", "k": 3, "shift": 1, "flip": True},
        {"code": "concatenation/selection", "loss": "cross-entropy", "k": 6, "iterations": 2},
        {"code": "vandermonde/linear", "r": 2, "parity_model": "resnet18", "parity_width": 0.05, "iterations": 2},
    ],
    ids=["addition", "learned", "selection", "two-lost"],
)
def test_a_training_goes_on_where_it_was_bit_for_bit(tmp_path, cache, fields):
    rows = run(cache, tmp_path, **fields)
    assert run(cache, resume=tmp_path / "1", **fields) == rows[1:]
    assert run(cache, resume=tmp_path / str(len(rows)), **fields) == []


def test_continuing_trains_no_epoch_twice(tmp_path, cache, monkeypatch):
    seen = []
    monkeypatch.setattr(
        sys.modules["lab.tasks.parity.batches"],
        "shuffled_groups",
        lambda count, k, seed, epoch: (seen.append(epoch), shuffled_groups(count, k, seed, epoch))[1],
    )
    whole = run(cache, iterations=2, epochs=2, schedule="constant", folder=tmp_path)
    run(cache, iterations=3, epochs=2, schedule="constant", continue_from=str(tmp_path / "2"))
    assert seen == [0, 1, 2, 3, 4, 5]
    with pytest.raises(RequestError, match="more iterations than the 2 that"):
        run(cache, iterations=2, epochs=2, continue_from=str(tmp_path / "2"))
    assert [row["epoch"] for row in whole] == [2, 4]


def test_only_testing_measures_the_best_network_and_trains_nothing(tmp_path, cache):
    rows = run(cache, tmp_path)
    (row,) = run(cache, only_test=True, continue_from=str(tmp_path / "3"))
    assert row["test/degraded_accuracy"] == rows[-1]["best/test/degraded_accuracy"]
    assert "train/loss" not in row


def test_a_base_model_is_trained_once_and_a_damaged_copy_again(tmp_path, monkeypatch):
    import lab.tasks.parity.base_models as base_models

    trained = []
    train = base_models._train
    monkeypatch.setattr(base_models, "_train", lambda *args: (trained.append(1), train(*args))[1])
    rows = [run(str(tmp_path), iterations=1) for _ in range(2)]
    assert len(trained) == 1
    run(str(tmp_path), iterations=1, seed=1)
    assert len(trained) == 2
    for weights in tmp_path.glob("*/base.safetensors"):
        weights.write_bytes(b"\x08")
    rows.append(run(str(tmp_path), iterations=1))
    assert len(trained) == 3
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][0]["base/test_accuracy"] == rows[0][0]["test/accuracy"]


def test_every_code_is_trained_or_measured(cache):
    free = ("berrut", "berrut-systematic", "spline", "replication", "cheap-model", "majority")
    learned = ("addition/mlp", "concatenation/subtraction", "conv/mlp", "mlp/linear")
    for code in (*free, *learned):
        rows = run(cache, code=code, iterations=1, k=4, parity_model="linear")
        assert len(rows) == 1
        assert all(np.isfinite(value) for value in rows[-1].values())
        if code == "replication":
            assert rows[0]["test/degraded_accuracy"] == rows[0]["base/test_accuracy"]
            assert rows[0]["test/reconstruction"] == 1
            assert rows[0]["extra_servers"] == 4
        if code == "majority":
            assert 0.05 < rows[0]["test/degraded_accuracy"] < 0.15


def exact(k, r):
    """A data set of noise, a linear base model, and the parity models that are exact for it."""
    rng = torch.Generator().manual_seed(0)
    inputs, labels = torch.rand(23, 3, 4, 4, generator=rng), torch.randint(0, 6, (23,), generator=rng)
    part = Part(inputs, labels)
    data = Dataset("noise", part, part, part, 6, torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
    base = make_model("linear", data.shape, 6, 1.0, rng)
    models = []
    for row in ENCODERS["vandermonde"](k, r, data.shape).weights:
        model = make_model("linear", data.shape, 6, 1.0, rng)
        model.load_state_dict(base.state_dict())
        model[1].bias.data *= float(row.sum())
        models.append(model)
    scheme = Parity(k, ENCODERS["vandermonde"](k, r, data.shape), models, DECODERS["linear"](k, r, 6))
    with torch.no_grad():
        return data, scheme, base(inputs)


@pytest.mark.parametrize(("k", "r"), [(2, 1), (3, 1), (4, 1), (2, 2), (3, 2)])
def test_with_a_linear_base_model_every_rebuilt_prediction_is_the_one_that_was_lost(k, r):
    data, scheme, predictions = exact(k, r)
    found = measure(scheme, data, data.test, predictions, loss_rate=0.25)
    assert found["reconstruction"] == 1
    assert found["degraded_accuracy"] == pytest.approx(found["accuracy"], abs=1e-6 if r == 1 else 0.05)
    assert found["overall"] == pytest.approx(0.75 * found["accuracy"] + 0.25 * found["degraded_accuracy"])
    assert {f"reconstruction/{erasure.name}" for erasure in scheme.erasures} <= set(found)
    assert {name for name in found if "top" in name} == {"degraded_top2", "degraded_top5"} | {
        "reconstruction_top2",
        "reconstruction_top5",
    }
    assert found["accuracy"] == float((predictions.argmax(-1) == data.test.labels).float().mean())


def test_the_exact_parity_model_has_no_loss():
    data, scheme, predictions = exact(2, 1)
    queries = data.test.inputs[:22].unflatten(0, (11, 2))
    groups = (queries, predictions[:22].unflatten(0, (11, 2)), data.test.labels[:22].unflatten(0, (11, 2)))
    with torch.no_grad():
        assert loss_of(scheme, *groups, "mse", 1.0) < 1e-10
        assert loss_of(scheme, *groups, "kl", 1.0).abs() < 1e-6


def test_a_loss_of_rebuilt_predictions_reads_nothing_else():
    class Estimates(nn.Module):
        answers_each = 1

        def forward(self, answers, arrived):
            # Far off where nothing is lost.
            lost = torch.tensor([not came for came in arrived[:2]])
            return torch.where(lost[:, None], answers[:, :2], 1e6)

    data, scheme, predictions = exact(2, 1)
    scheme.decoder = Estimates()
    queries = data.test.inputs[:22].unflatten(0, (11, 2))
    groups = (queries, predictions[:22].unflatten(0, (11, 2)), data.test.labels[:22].unflatten(0, (11, 2)))
    assert loss_of(scheme, *groups, "mse", 1.0) == 0


@pytest.mark.parametrize(("count", "k"), [(7, 2), (9, 4), (8, 4), (3, 3)])
def test_every_sample_counts_once_and_none_is_dropped(count, k):
    places, counts = fixed_groups(count, k)
    assert sorted(places[counts]) == list(range(count))
    shuffled = shuffled_groups(count, k, 0, 0)
    assert shuffled.shape == places.shape
    assert set(shuffled.ravel()) == set(range(count))
    assert (shuffled_groups(count, k, 0, 0) == shuffled).all()


def test_validation_counts_every_sample_once_in_each_order():
    places, counts = fixed_groups(7, 2, 3)
    assert np.bincount(places[counts]).tolist() == [3] * 7
    assert (places[:4] == fixed_groups(7, 2)[0]).all()
    assert len({tuple(order.ravel()) for order in np.split(places, 3)}) == 3


def test_samples_that_are_sorted_by_class_are_not_measured_in_groups_of_one_class():
    classes = np.repeat(np.arange(10), 50)
    places, _ = fixed_groups(len(classes), 2)
    assert (classes[places[:, 0]] == classes[places[:, 1]]).mean() < 0.3


def test_epochs_have_groups_of_their_own():
    assert (shuffled_groups(50, 2, 0, 0) != shuffled_groups(50, 2, 0, 1)).any()


def test_augmentation_moves_mirrors_and_blends():
    queries = torch.zeros(64, 1, 5, 5)
    queries[:, 0, 2, 2] = 1
    black = torch.full((1, 1, 1), -3.0)
    moved = Augmentation(1, False, 0.0)(queries, black, np.random.default_rng(0))
    places = {tuple(np.argwhere(image == 1)[0]) for image in moved[:, 0].numpy()}
    assert places == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}
    assert (moved == -3).any()
    mirrored = Augmentation(0, True, 0.0)(torch.arange(5.0).expand(64, 1, 5, 5), black, np.random.default_rng(0))
    assert {tuple(image[0, 0].tolist()) for image in mirrored} == {(0, 1, 2, 3, 4), (4, 3, 2, 1, 0)}
    blended = Augmentation(0, False, 0.5)(torch.rand(64, 1, 5, 5) + 1, black, np.random.default_rng(0))
    assert blended.min() >= 1
    assert not Augmentation(0, False, 0.0)


def test_validation_and_test_queries_are_never_augmented(cache, monkeypatch):
    rows = run(cache, only_test=False, iterations=1, train_parity_model=False, parity_init="base")
    assert rows == [
        {**row, "epoch": 0.0} for row in run(cache, iterations=1, train_parity_model=False, parity_init="base", shift=2)
    ]


def test_a_frozen_parity_model_has_the_base_models_weights_and_says_so(cache, capsys):
    config = parse(ParityConfig, {**TINY, "cache_dir": cache, "train_parity_model": False, "parity_init": "base"})
    data = load("digits", None, 0.1, 0)
    base = make_model("mlp", data.shape, 10, 1.0, torch.Generator().manual_seed(3))
    scheme = make_scheme(config, data, base)
    assert all(torch.equal(a, b) for a, b in zip(base.parameters(), scheme.parameters(), strict=True))
    fit_function(config, lambda metrics, checkpoint=None: None)
    told = capsys.readouterr().err
    assert "% train" in told.splitlines()[0]
    assert "frozen: the parity model, with the weights of the base model" in told


@pytest.mark.parametrize(
    ("name", "side"), [("mlp", 8), ("lenet", 20), ("vgg11", 32), ("resnet18", 8), ("resnet152", 4)]
)
def test_a_wider_parity_model_begins_with_the_base_models_answers_and_can_leave_them(name, side):
    generator = torch.Generator().manual_seed(0)
    narrow = 1.0 if name in ("mlp", "lenet") else 0.05
    base = make_model(name, (1, side, side), 10, narrow, generator).eval()
    model = make_model(name, (1, side, side), 10, 2 * narrow, generator).eval()
    queries = torch.rand(5, 1, side, side, generator=generator)
    assert not torch.allclose(model(queries), base(queries))
    begin_as(model, base)
    torch.testing.assert_close(model(queries), base(queries))
    model(queries).square().mean().backward()
    last = [parameter for parameter in model.parameters() if parameter.dim() == 2][-1]
    assert last.grad[:, last.shape[1] // 2 :].any(), "what the further units say can come to be read"


def test_frozen_parts_do_not_move(tmp_path, cache):
    from safetensors.torch import load_file

    fields = {"code": "mlp/mlp", "train_parity_model": False, "parity_init": "base", "train_encoder": True}
    run(cache, tmp_path, **fields)
    first, last = (load_file(tmp_path / place / "current.safetensors") for place in ("1", "3"))
    moved = {name.split(".")[1] for name in first if name.startswith("network") and (first[name] != last[name]).any()}
    assert moved == {"encoder", "decoder"}


def test_a_part_that_was_trained_before_can_be_loaded_and_frozen(tmp_path, cache, capsys):
    from safetensors.torch import load_file

    run(cache, tmp_path, code="mlp/subtraction", iterations=1)
    run(cache, tmp_path, code="mlp/subtraction", iterations=2, train_encoder=False, continue_from=str(tmp_path / "1"))
    told = capsys.readouterr().err
    assert "frozen: the encoder, as it was loaded" in told
    assert "the optimiser begins anew" in told
    first, last = (load_file(tmp_path / place / "current.safetensors") for place in ("1", "2"))
    for name in first:
        if name.startswith("network.encoder"):
            assert torch.equal(first[name], last[name])
        elif name.endswith("weight"):
            assert not torch.equal(first[name], last[name])


def test_every_trained_weight_gets_a_gradient_in_the_first_step(cache):
    data, _, _ = exact(2, 1)
    for code in ("mlp/mlp", "conv/subtraction", "vandermonde/linear"):
        config = parse(ParityConfig, {**TINY, "cache_dir": cache, "code": code})
        base = make_model("mlp", data.shape, data.classes, 1.0, torch.Generator().manual_seed(3))
        scheme = make_scheme(config, data, base)
        queries = data.test.inputs[:22].unflatten(0, (11, 2))
        predictions = base(data.test.inputs[:22]).detach().unflatten(0, (11, 2))
        loss_of(scheme, queries, predictions, data.test.labels[:22].unflatten(0, (11, 2)), "mse", 1.0).backward()
        for name, weight in scheme.named_parameters():
            assert torch.isfinite(weight.grad).all(), name
            assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("name", "shape"), [(name, (1, 16, 16)) for name in MODELS if name != "vgg11"])
def test_every_model_reads_images_of_any_size_from_its_least_on(name, shape):
    with torch.device("meta"):
        assert MODELS[name](shape, 7, 0.5)(torch.zeros(2, *shape)).shape == (2, 7)
        assert MODELS[name]((3, 37, 50), 7, 1.0)(torch.zeros(2, 3, 37, 50)).shape == (2, 7)


def test_models_have_the_sizes_of_their_papers():
    with torch.device("meta"):
        sizes = {
            name: sum(p.numel() for p in MODELS[name](shape, 10, 1.0).parameters())
            for name, shape in (("mlp", (1, 28, 28)), ("resnet18", (3, 32, 32)), ("resnet152", (3, 32, 32)))
        }
    assert sizes == {"mlp": 178_110, "resnet18": 11_173_962, "resnet152": 58_156_618}


WRONG = [
    ({"dataset": "digit"}, "unknown dataset 'digit'.*Did you mean 'digits'"),
    ({"model": "resnet-18"}, "unknown model.*Did you mean 'resnet18'"),
    ({"code": "addition/substraction"}, "unknown decoder.*Did you mean 'subtraction'"),
    ({"code": "additon/subtraction"}, "unknown encoder.*Did you mean 'addition'"),
    ({"code": "berut"}, "unknown code.*Did you mean 'berrut'"),
    ({"code": "os.system/subtraction"}, "unknown encoder 'os.system'"),
    ({"loss": "torch.nn.HuberLoss"}, "unknown loss 'torch.nn.HuberLoss'"),
    ({"r": 2}, "addition has r = 1, expected vandermonde/linear for r = 2"),
    ({"r": 2, "code": "vandermonde/subtraction"}, "subtraction has r = 1"),
    ({"r": 2, "code": "concatenation/mlp"}, "concatenation has r = 1"),
    ({"code": "addition/selection"}, "expected concatenation/selection, but the code is addition/selection"),
    ({"r": 2, "code": "concatenation/selection"}, "concatenation has r = 1"),
    ({"code": "concatenation/selection", "parity_init": "base"}, "selection's see one tile each"),
    ({"k": 1}, "k: .*greater than or equal to 2.*1"),
    ({"train_parity_model": False}, "parity_model is frozen, but it is not loaded"),
    ({"code": "mlp/mlp", "train_encoder": False}, "encoder is frozen, but it is not loaded"),
    ({"train_encoder": True}, "train_encoder is true, but the encoder of addition/subtraction has no weights"),
    ({"train_decoder": True}, "train_decoder is true"),
    ({"parity_init": "base", "parity_width": 0.5}, "at least as wide"),
    ({"parity_init": "base", "parity_model": "lenet"}, "parity_init base needs"),
    ({"code": "berrut", "continue_from": "there"}, "continue_from is for codes with weights, but berrut has none"),
    ({"only_test": True}, "only_test needs continue_from"),
    ({"output": "probabilities", "loss": "kl"}, "output = logits"),
    ({"mix": 0.5}, "mix needs distil"),
    ({"loss_rate": 1.5}, "loss_rate.*1.5"),
    ({"validation_share": 0}, "validation_share.*0"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[str(fields) for fields, _ in WRONG])
def test_a_wrong_configuration_is_refused_in_one_line(fields, message):
    with pytest.raises(RequestError, match=message) as caught:
        parse(ParityConfig, fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": "lenet"}, "at least 16 x 16 pixels for lenet, but got 8 x 8"),
        ({"model": "vgg11"}, "at least 32 x 32 pixels for vgg11"),
        ({"dataset": "mnist"}, "--data-dir"),
        ({"dataset": "cifar10", "data_dir": "nowhere"}, "nowhere"),
        ({"continue_from": "nowhere"}, "checkpoint directory or a run, but 'nowhere'"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(fields, message):
    with pytest.raises(RequestError, match=message):
        check(parse(ParityConfig, fields))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("checkpoints")
    run(cache, folder, iterations=1)
    return folder / "1"


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: cut(folder / "current.safetensors"), "current.safetensors is truncated or changed"),
        (lambda folder: cut(folder / "progress.json"), "truncated or edited"),
        (lambda folder: (folder / "base.safetensors").unlink(), "base.safetensors is missing"),
        (lambda folder: (folder / "optimiser.pkl").write_bytes(b"\x80\x04."), "optimiser.pkl is new"),
        (lambda folder: (folder / "progress.json").write_text("[]"), "another kind"),
        (lambda folder: (folder / "progress.json").unlink(), "no such file"),
    ],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, cache, checkpoint, damage, message):
    shutil.copytree(checkpoint, tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(RequestError, match=message):
        run(cache, resume=tmp_path / "copy")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 3}, "k = 3, but .* has k = 2"),
        ({"parity_width": 2.0}, r"parity_width = 2\.0"),
        ({"parity_model": "linear"}, "parity_model = linear, but .* mlp"),
        ({"code": "addition/mlp"}, "code = addition/mlp"),
        ({"split_seed": 1}, "split_seed = 1, but .* has split_seed = 0"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(cache, checkpoint, fields, message):
    with pytest.raises(RequestError, match=message):
        run(cache, resume=checkpoint, **fields)


def test_a_checkpoint_of_other_samples_is_refused(tmp_path, cache, checkpoint):
    shutil.copytree(checkpoint, tmp_path / "copy")
    path = tmp_path / "copy" / "progress.json"
    progress = read_json(path, "progress")
    write_json(path, {**progress, "data": "0" * 64})
    with pytest.raises(RequestError, match="same samples and the same split"):
        run(cache, resume=tmp_path / "copy")


def test_weights_of_other_shapes_are_refused_however_they_are_described(tmp_path, cache, checkpoint):
    shutil.copytree(checkpoint, tmp_path / "copy")
    path = tmp_path / "copy" / "progress.json"
    progress = read_json(path, "progress")
    progress["architecture"]["parity_width"] = 2.0
    write_json(path, progress)
    with pytest.raises(RequestError, match="expected the weights of this architecture"):
        run(cache, resume=tmp_path / "copy", parity_width=2.0)


def test_a_stand_in_for_lost_predictions_takes_the_servers_that_it_says():
    assert Fallback(3, 1, lambda queries, predictions: predictions, extra=3).extra == 3
