"""Artefacts: what is damaged or of another kind is refused in one line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from lab.errors import RequestError
from lab.files import sha256
from lab.tables import learned
from lab.tasks.l1_norm import TASK, L1NormConfig, load_model
from lab.tasks.l1_norm.artefact import DESCRIPTION, MODEL


@pytest.fixture
def folder(tmp_path):
    config = L1NormConfig(width=2)
    state = TASK.init(config).state_dict()
    TASK.save(config, tmp_path, best=state, untrained=state, best_objective=0.1, untrained_objective=0.5)
    return tmp_path


def refuse(folder, match):
    with pytest.raises(RequestError, match=match) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def describe(folder, **changes):
    path = folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def retensor(folder, change):
    tensors = load_file(folder / MODEL)
    change(tensors)
    save_file(tensors, folder / MODEL)
    digests = json.loads((folder / DESCRIPTION).read_text())["sha256"]
    describe(folder, sha256={**digests, MODEL: sha256(folder / MODEL)})


def test_a_whole_artefact_is_loaded(folder):
    cell, description = load_model(folder)
    assert description["options"] == {"cell": "relu", "width": 2, "bias": False, "activation": "relu", "slope": 0.0}
    assert all(value.dtype == torch.float32 for value in cell.state_dict().values())


def test_it_is_not_taken_for_a_learned_table(folder):
    with pytest.raises(RequestError, match=r"expected a learned table of format 1 .* got format 'l1_norm/1'"):
        learned.load(folder)


def test_a_learned_table_is_not_taken_for_it(folder):
    describe(folder, format=1)
    refuse(folder, "got format 1")


def test_missing_files_are_named(folder):
    (folder / MODEL).unlink()
    refuse(folder, f"{MODEL}, but there is no such file")
    (folder / DESCRIPTION).unlink()
    refuse(folder, "no such file")


def test_truncated_tensors_are_refused(folder):
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-3])
    refuse(folder, "SHA-256 differs")


def test_what_is_no_safetensors_file_is_refused(folder):
    (folder / MODEL).write_bytes(b"not tensors")
    describe(folder, sha256={MODEL: sha256(folder / MODEL)})
    refuse(folder, "expected safetensors")


def test_options_of_no_cell_are_refused(folder):
    describe(folder, options={"cell": "os.system"})
    refuse(folder, "expected the options of a cell")
    describe(folder, options={"cell": "relu", "width": 2, "depth": 3})
    refuse(folder, "depth")
    describe(folder, options=[])
    refuse(folder, "'options' of a network")


def test_tensors_of_another_shape_or_dtype_are_refused(folder):
    describe(folder, options={"cell": "relu", "width": 3})
    refuse(folder, r"'weight_i' as \(\(3, 1\)")


def test_tensors_that_are_missing_or_not_finite_are_refused(folder):
    retensor(folder, lambda tensors: tensors.update(weight_r=torch.full((1, 1), torch.inf)))
    refuse(folder, "finite tensors .* 'weight_r'")
    retensor(folder, lambda tensors: tensors.pop("weight_r"))
    refuse(folder, "'weight_r'")
    retensor(folder, lambda tensors: tensors.update(weight_r=torch.ones(1, 1).double()))
    refuse(folder, "float64")
