"""What a kill or a full disk may leave behind: the old file or the new one, never half of one."""

import os
from pathlib import Path

import pytest

from lab.errors import RequestError, WorkError
from lab.files import (
    atomic_path,
    read_json,
    replace_directory,
    settle_directory,
    sha256,
    write_bytes,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "run.json"
    write_text(path, "old")

    def write_and_fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyError("killed")

    with pytest.raises(KeyError):
        write_and_fail()
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorkError, match="No space left on device"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="cannot write"):
        write_bytes(tmp_path / "file" / "x.json", b"")


def test_nan_never_reaches_a_json_file(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"a": 1', "not JSON"), (b"", "not JSON"), (b"\xff\xfe", "readable"), (None, "no such file")],
)
def test_a_json_file_that_cannot_be_read_says_so_in_one_line(tmp_path, content, message):
    path = tmp_path / "run.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=message) as caught:
        read_json(path, "run manifest")
    assert "run manifest" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_is_replaced_whole(tmp_path):
    for name, text in (("first", "1"), ("second", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").write_text(text)
    target = tmp_path / "checkpoint"
    replace_directory(tmp_path / "first", target)
    (target / "left-over").write_text("")
    replace_directory(tmp_path / "second", target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {"state": "2"}


@pytest.mark.parametrize("killed_at", ["rmtree", "rename"])
def test_a_kill_while_a_directory_is_replaced_loses_nothing(tmp_path, killed_at):
    target, fresh = tmp_path / "checkpoint", tmp_path / "checkpoint.new"
    fresh.mkdir()
    (fresh / "state").write_text("2")
    if killed_at == "rmtree":
        target.mkdir()
        (target / "half-removed").write_text("")
    settle_directory(target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {"state": "2"}
    assert not fresh.exists()


def test_sha256_is_that_of_the_content(tmp_path: Path):
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
