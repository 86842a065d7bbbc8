"""Backends: the notebook's hashes, one identity in every spelling, one order on every machine."""

from __future__ import annotations

import hashlib
import struct
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.backends import canonical_id, hash_uuid_bytes, hashes_of, random_uuid_bytes, sort_order, uuid_bytes
from envs.errors import RequestError

KNOWN = uuid.UUID("12345678-9abc-4def-8123-456789abcdef")


def notebook_hashes(identity: uuid.UUID) -> tuple[int, ...]:
    return struct.unpack("<4Q", hashlib.sha256(identity.bytes_le).digest())


@given(st.uuids())
def test_a_uuid_is_hashed_as_the_notebook_does(identity: uuid.UUID) -> None:
    assert tuple(hashes_of([identity])[0].tolist()) == notebook_hashes(identity)
    raw = np.frombuffer(identity.bytes, dtype=np.uint8)
    assert hash_uuid_bytes(raw).tolist() == hashes_of([identity])[0].tolist()


@pytest.mark.parametrize("spelling", [str(KNOWN).upper(), KNOWN.hex, f"{{{KNOWN}}}", KNOWN.urn, str(KNOWN)])
def test_every_spelling_of_a_uuid_is_that_uuid(spelling: str) -> None:
    assert canonical_id(spelling) == str(KNOWN)
    np.testing.assert_array_equal(hashes_of([spelling]), hashes_of([KNOWN]))


def test_other_text_is_hashed_as_utf8() -> None:
    for text in ("10.0.0.1:80", "bäckend", "A-b"):
        assert canonical_id(text) == text
        expected = struct.unpack("<4Q", hashlib.sha256(text.encode()).digest())
        assert tuple(hashes_of([text])[0].tolist()) == expected


def test_no_backends_is_an_empty_array() -> None:
    assert hashes_of([]).shape == (0, 4)
    assert sort_order([]).shape == (0,)


@given(st.lists(st.one_of(st.uuids(), st.text(min_size=1, max_size=6)), max_size=8), st.randoms())
def test_the_order_given_never_matters(ids: list[uuid.UUID | str], random: object) -> None:
    try:
        expected = sorted(canonical_id(identity) for identity in ids)
    except RequestError:
        return
    if len(set(expected)) < len(expected):
        with pytest.raises(RequestError, match="came twice"):
            sort_order(ids)
        return
    random.shuffle(ids)  # type: ignore[attr-defined]
    assert [canonical_id(ids[place]) for place in sort_order(ids)] == expected


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        b"10.0.0.1",
        3,
        None,
        "12345678-9abc-4def-8123-456789abcdeg",
        "12345678-9abc-4def-8123-456789abcde",
        "urn:uuid:1",
    ],
)
def test_what_is_no_backend_is_refused_in_one_line(wrong: object) -> None:
    with pytest.raises(RequestError) as caught:
        canonical_id(wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_text_without_utf8_is_refused() -> None:
    with pytest.raises(RequestError, match="UTF-8"):
        canonical_id("\ud800")


def test_one_backend_in_two_spellings_is_a_duplicate() -> None:
    with pytest.raises(RequestError, match="came twice"):
        sort_order([KNOWN, KNOWN.hex])


def test_random_uuids_are_version_four_and_repeat_with_the_seed() -> None:
    raw = random_uuid_bytes(np.random.default_rng(3), (50, 2))
    assert raw.shape == (50, 2, 16)
    for row in raw.reshape(-1, 16):
        identity = uuid.UUID(bytes=row.tobytes())
        assert identity.version == 4
        assert identity.variant == uuid.RFC_4122
    np.testing.assert_array_equal(raw, random_uuid_bytes(np.random.default_rng(3), (50, 2)))


def test_raw_bytes_of_text_are_refused() -> None:
    np.testing.assert_array_equal(uuid_bytes([KNOWN, KNOWN.hex])[1], np.frombuffer(KNOWN.bytes, dtype=np.uint8))
    with pytest.raises(RequestError, match="must be a UUID"):
        uuid_bytes(["10.0.0.1:80"])
    with pytest.raises(RequestError, match="16"):
        hash_uuid_bytes(np.zeros((2, 15), dtype=np.uint8))
