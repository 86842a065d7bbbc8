"""Backend files and table files: what is read is whole and means one thing, or one line says what is wrong."""

import json
from pathlib import Path

import numpy as np
import pytest

from lab.errors import RequestError
from lab.table_files import Backends, build_table, read_backends, read_table, write_table
from lab.tables import build

UUID = "0c8e5a04-5f0f-4d0c-8a1c-1d7e0d3a5b11"


@pytest.fixture
def backend_file(tmp_path: Path):
    def write(text: str, name: str = "backends.txt") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "keys", "weights"),
    [
        ("10.0.0.1:80\n10.0.0.2:80\n", ("10.0.0.1:80", "10.0.0.2:80"), None),
        ("# fleet\n\n  10.0.0.1:80  # first\n[::1]:80\r\nhost#1\n", ("10.0.0.1:80", "[::1]:80", "host#1"), None),
        ("a 1\nb 0\nc 2.5 # drains\n", ("a", "b", "c"), (1.0, 0.0, 2.5)),
        ("\ufeffa", ("a",), None),
        (f"{UUID.upper()}\nurn:uuid:{UUID[:-1]}2\n", (UUID, UUID[:-1] + "2"), None),
    ],
)
def test_text_files(backend_file, text: str, keys: tuple, weights: tuple | None):
    assert read_backends(backend_file(text)) == Backends(keys, weights)


@pytest.mark.parametrize(
    ("text", "keys", "weights"),
    [
        ('["b", "a"]', ("b", "a"), None),
        ('{"b": 2, "a": 0.5}', ("b", "a"), (2.0, 0.5)),
    ],
)
def test_json_files(backend_file, text: str, keys: tuple, weights: tuple | None):
    assert read_backends(backend_file(text, "backends.json")) == Backends(keys, weights)


def test_weights_may_stand_in_a_file_of_their_own(backend_file):
    backends, weights = backend_file("b\na\n"), backend_file("a 1\nb 3\n", "weights.txt")
    assert read_backends(backends, weights) == Backends(("b", "a"), (3.0, 1.0))
    as_json = backend_file('{"a": 1, "b": 3}', "weights.json")
    assert read_backends(backends, as_json) == Backends(("b", "a"), (3.0, 1.0))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("b.txt", "", "at least one backend"),
        ("b.txt", "# nothing\n\n", "at least one backend"),
        ("b.json", "[]", "at least one backend"),
        ("b.json", "{}", "at least one backend"),
        ("b.json", '["a", ', "not JSON"),
        ("b.json", '"a"', "expected a list of backends"),
        ("b.json", "[1]", "UUID or text"),
        ("b.json", '[""]', "empty text"),
        ("b.json", '{"a": 1, "a": 2}', "'a' is there twice"),
        ("b.json", '{"a": NaN}', "finite weight"),
        ("b.json", '{"a": Infinity}', "finite weight"),
        ("b.json", '{"a": true}', "finite weight"),
        ("b.json", '{"a": "1"}', "finite weight"),
        ("b.json", '{"a": {"b": 1}}', "finite weight"),
        ("b.json", '{"a": 1' + "0" * 400 + "}", "finite weight"),
        ("b.json", '{"a": 1, "b": null}', "'b' has none"),
        ("b.txt", "a\nb\na\n", "'a' is there twice"),
        ("b.txt", f"{UUID}\n{UUID.upper()}\n", "is there twice, once as"),
        ("b.txt", "0c8e5a04-5f0f-4d0c-8a1c-1d7e0d3a5b1z\n", "malformed UUID"),
        ("b.txt", "a 1\nb\n", "'b' has none"),
        ("b.txt", "a x\n", "number as weight on line 1"),
        ("b.txt", "a nan\n", "finite weight >= 0 for 'a'"),
        ("b.txt", "a -1\n", "finite weight >= 0 for 'a'"),
        ("b.txt", "a inf\n", "finite weight >= 0 for 'a'"),
        ("b.txt", "a 0\nb 0\n", "at least one weight above 0"),
        ("b.txt", "a 1 2\n", "on line 1"),
    ],
)
def test_a_wrong_backend_file_is_refused_in_one_line(backend_file, name: str, text: str, says: str):
    with pytest.raises(RequestError, match=says) as refused:
        read_backends(backend_file(text, name))
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    for path in (tmp_path / "missing.txt", tmp_path / "missing.json", tmp_path):
        with pytest.raises(RequestError, match="expected a"):
            read_backends(path)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(RequestError, match="readable backend file"):
        read_backends(tmp_path / "latin.txt")


@pytest.mark.parametrize(
    ("weights", "says"),
    [("a\nb\n", "but got none"), ("a 1\n", "'b' has none"), ("a 1\nb 1\nc 1\n", "unknown backend")],
)
def test_weights_for_other_backends_are_refused(backend_file, weights: str, says: str):
    with pytest.raises(RequestError, match=says):
        read_backends(backend_file("a\nb\n"), backend_file(weights, "weights.txt"))


def test_a_table_file_says_all_there_is_to_know_and_is_read_back(tmp_path: Path):
    document = build_table("maglev@1", 7, Backends(("c", "a", "b"), (1.0, 2.0, 0.0)))
    write_table(tmp_path / "t.json", document)
    fields = json.loads((tmp_path / "t.json").read_text())
    assert fields["entries"] == build("maglev", ["c", "a", "b"], 7, [1, 2, 0]).tolist()
    assert {key: fields[key] for key in ("format", "algorithm", "version", "size", "backends", "weights")} == {
        "format": 1,
        "algorithm": "maglev",
        "version": 1,
        "size": 7,
        "backends": ["c", "a", "b"],
        "weights": [1.0, 2.0, 0.0],
    }
    again = read_table(tmp_path / "t.json")
    assert again.backends == document.backends
    np.testing.assert_array_equal(again.entries, document.entries)


def test_the_digest_is_that_of_the_mapping_not_of_the_list():
    one, two = (build_table("balanced", 47, Backends(keys)) for keys in (("a", "b", "c"), ("c", "a", "b")))
    assert one.digest == two.digest
    assert one.digest != build_table("balanced", 47, Backends(("a", "b", "d"))).digest


def test_nothing_is_overwritten_without_force(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text("precious")
    document = build_table("balanced", 7, Backends(("a",)))
    with pytest.raises(RequestError, match="pass --force"):
        write_table(path, document)
    assert path.read_text() == "precious"
    write_table(path, document, force=True)
    assert read_table(path).digest == document.digest
    with pytest.raises(RequestError, match="is a folder"):
        write_table(tmp_path, document, force=True)


def test_an_empty_set_and_a_learned_table_are_tables_too(tmp_path: Path):
    fields = {"format": 1, "algorithm": "ppo:some-run", "version": 1, "size": 2, "backends": [], "weights": None}
    (tmp_path / "t.json").write_text(json.dumps({**fields, "entries": [-1, -1]}))
    assert read_table(tmp_path / "t.json").entries.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 1"),
        ({"algorithm": "maglv"}, "Did you mean 'maglev'"),
        ({"algorithm": 3}, "'algorithm'"),
        ({"version": 0}, "'version'"),
        ({"version": True}, "'version'"),
        ({"size": "7"}, "'size'"),
        ({"size": 8}, "8 entries .* got 7"),
        ({"size": 0, "entries": []}, "'size'"),
        ({"backends": ["a", "a"]}, "twice"),
        ({"backends": [f"{UUID}", f"{{{UUID}}}"]}, "twice"),
        ({"backends": "ab"}, "'backends'"),
        ({"backends": ["a", 1]}, "UUID or text"),
        ({"weights": [1.0]}, "a weight a backend"),
        ({"weights": [1.0, -1.0]}, "finite weight"),
        ({"weights": [1.0, None]}, "'b' has none"),
        ({"entries": [0, 1, 0, 1, 0, 1, 2]}, "entry 6 is 2"),
        ({"entries": [0, 1, 0, 1, 0, 1, -2]}, "entry 6 is -2"),
        ({"entries": [0, 1, 0, 1, 0, 1, 1.0]}, "entry 6 is 1.0"),
        ({"entries": [0, 1, 0, 1, 0, 1, True]}, "entry 6 is True"),
        ({"entries": [0, 1, 0, 1, 0, 1, None]}, "entry 6 is None"),
        ({"entries": None}, "'entries'"),
        ({"entires": []}, "Did you mean 'entries'"),
        ({"digest": "0" * 64}, "digest"),
    ],
)
def test_a_wrong_table_file_is_refused_in_one_line(tmp_path: Path, change: dict, says: str):
    fields = build_table("maglev", 7, Backends(("a", "b"))).to_json()
    (tmp_path / "t.json").write_text(json.dumps(fields | change))
    with pytest.raises(RequestError, match=says) as refused:
        read_table(tmp_path / "t.json")
    assert "\n" not in str(refused.value)


def test_a_truncated_table_file_is_refused_wherever_it_was_cut(tmp_path: Path):
    path = tmp_path / "t.json"
    write_table(path, build_table("maglev", 7, Backends(("a", "b"))))
    whole = path.read_text().rstrip()
    for length in range(len(whole)):
        path.write_text(whole[:length])
        with pytest.raises(RequestError):
            read_table(path)
    path.write_text("[]")
    with pytest.raises(RequestError, match="format 1"):
        read_table(path)
