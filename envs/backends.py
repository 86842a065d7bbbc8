"""A backend: a UUID or a key such as "10.0.0.1:80", hashed as the notebook does, ordered by its text.

Nothing here depends on the order in which backends are given, on the process or on the machine.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import uuid
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from envs.errors import RequestError

Identity = uuid.UUID | str

HASHES = 4
"""A SHA-256 digest makes this many 64-bit hashes."""

# Eight, four, four and four characters between dashes is a UUID someone mistyped, not a host of that name.
_CLAIMS_TO_BE_A_UUID = re.compile(r"\{?\w{8}-\w{4}-\w{4}-\w{4}-\w{1,16}\}?|urn:uuid:.*")
# uuid.UUID.bytes -> uuid.UUID.bytes_le: the first three fields are written with the least significant byte first.
_LITTLE_ENDIAN = np.array([3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15])


def canonical_id(identity: Identity) -> str:
    """The one text of a backend, by which backends are compared and ordered.

    Args:
        identity: a UUID, text that parses as a UUID, or any other text ("10.0.0.1:80").

    Returns:
        `str(uuid)` (lower case, dashes) for UUIDs in any spelling, other text unchanged.

    Raises:
        RequestError: for empty text, text that has the form of a UUID and is none, text without a UTF-8 form,
            and values that are neither text nor UUID.
    """
    if isinstance(identity, uuid.UUID):
        return str(identity)
    if not isinstance(identity, str):
        raise RequestError(f"a backend must be a UUID or text, but got {identity!r} of type {type(identity).__name__}")
    if not identity:
        raise RequestError("a backend must be a UUID or non-empty text, but got empty text")
    try:
        return str(uuid.UUID(identity))
    except ValueError:
        pass  # most backends are no UUIDs; what follows tells a key from a mistyped UUID
    if _CLAIMS_TO_BE_A_UUID.fullmatch(identity):
        raise RequestError(f"malformed UUID {identity!r}: expected 32 hexadecimal digits as 8-4-4-4-12")
    try:
        identity.encode()
    except UnicodeEncodeError as error:
        raise RequestError(f"a backend's text must have a UTF-8 form, but got {identity!r}") from error
    return str(identity)


def hashes_of(ids: Sequence[Identity]) -> NDArray[np.uint64]:
    """The four 64-bit hashes of each backend.

    SHA-256 of the UUID's `bytes_le` (as the notebook does), or of the UTF-8 bytes of any other text, cut into four
    little-endian words.

    Args:
        ids: n backends.

    Returns:
        uint64 array of shape (n, 4).

    Raises:
        RequestError: where `canonical_id` raises it.
    """
    digests = b"".join(hashlib.sha256(_hashed_bytes(canonical_id(identity))).digest() for identity in ids)
    return np.frombuffer(digests, dtype="<u8").reshape(len(ids), HASHES).astype(np.uint64)


def hash_uuid_bytes(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """`hashes_of` for many UUIDs given as raw bytes.

    Args:
        raw: uint8 array of shape (..., 16), each row a `uuid.UUID.bytes` (big-endian).

    Returns:
        uint64 array of shape (..., 4).
    """
    if raw.dtype != np.uint8 or raw.ndim < 1 or raw.shape[-1] != 16:
        raise RequestError(f"UUID bytes must be uint8 of shape (..., 16), but got {raw.dtype} of shape {raw.shape}")
    flat = raw.reshape(-1, 16)[:, _LITTLE_ENDIAN].tobytes()
    sha256 = hashlib.sha256
    digests = b"".join([sha256(flat[start : start + 16]).digest() for start in range(0, len(flat), 16)])
    return np.frombuffer(digests, dtype="<u8").reshape(*raw.shape[:-1], HASHES).astype(np.uint64)


def sort_order(ids: Sequence[Identity]) -> NDArray[np.int64]:
    """The order of the backends by their canonical text.

    Args:
        ids: n backends.

    Returns:
        int64 array of shape (n,): `ids[order[0]]` is the first backend.

    Raises:
        RequestError: if a backend occurs twice, in whatever spelling, or where `canonical_id` raises it.
    """
    texts = [canonical_id(identity) for identity in ids]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    for left, right in itertools.pairwise(order):
        if texts[left] == texts[right]:
            raise RequestError(f"each backend must be given once, but {texts[left]!r} came twice")
    return np.array(order, dtype=np.int64)


def random_uuid_bytes(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Random version 4 UUIDs.

    Args:
        rng: where the 122 random bits of each come from.
        shape: how many.

    Returns:
        uint8 array of shape (*shape, 16), each row a `uuid.UUID.bytes` (big-endian).
    """
    raw = rng.integers(0, 256, size=(*shape, 16), dtype=np.uint8)
    raw[..., 6] = raw[..., 6] & 0x0F | 0x40
    raw[..., 8] = raw[..., 8] & 0x3F | 0x80
    return raw


def uuid_bytes(ids: Sequence[Identity]) -> NDArray[np.uint8]:
    """The raw bytes of backends that are UUIDs.

    Args:
        ids: n UUIDs, as such or as text.

    Returns:
        uint8 array of shape (n, 16), each row a `uuid.UUID.bytes` (big-endian).

    Raises:
        RequestError: for text that is not a UUID.
    """
    raw = bytearray()
    for identity in ids:
        text = canonical_id(identity)
        try:
            raw += uuid.UUID(text).bytes
        except ValueError as error:
            raise RequestError(f"a backend must be a UUID here, but got {text!r}") from error
    return np.frombuffer(bytes(raw), dtype=np.uint8).reshape(len(ids), 16)


def _hashed_bytes(canonical: str) -> bytes:
    try:
        return uuid.UUID(canonical).bytes_le
    except ValueError:
        return canonical.encode()
