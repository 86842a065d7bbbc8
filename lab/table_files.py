"""Backend files and table files: what a load-balancer engineer keeps beside a configuration.

A *backend file* is text, a backend a line: `key` or `key weight`, `#` starts a comment; or, if its name ends in
`.json`, a list of keys or an object of key -> weight. A *table file* is JSON with everything that is needed to serve
the table, to build it again and to see that it is whole.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.backends import canonical_id
from lab.errors import RequestError, unknown_name
from lab.files import read_json, write_text
from lab.tables import registry

__all__ = [
    "Backends",
    "TableDocument",
    "build_table",
    "builder_for",
    "read_backends",
    "read_table",
    "refuse_to_replace",
    "write_table",
]

FORMAT = 1
_FIELDS = ("format", "algorithm", "version", "size", "backends", "weights", "entries", "digest")


@dataclass(frozen=True)
class Backends:
    """A set of backends.

    Attributes:
        keys: the canonical text of each, in the order given.
        weights: a number >= 0 for each, or None where all are alike.
    """

    keys: tuple[str, ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class TableDocument:
    """What a table file says.

    Attributes:
        algorithm: the builder, without a version.
        version: the version of the builder.
        backends: the set it was built for.
        entries: int32 (size,), for each entry an index into `backends.keys`, -1 for none.
    """

    algorithm: str
    version: int
    backends: Backends
    entries: NDArray[np.int32]

    @property
    def digest(self) -> str:
        """SHA-256 over the backend of each entry, a line each: equal where two tables serve alike, however the
        backends were listed."""
        owners = [*self.backends.keys, ""]
        return hashlib.sha256("\n".join(owners[entry] for entry in self.entries.tolist()).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The fields of the file."""
        return {
            "format": FORMAT,
            "algorithm": self.algorithm,
            "version": self.version,
            "size": len(self.entries),
            "backends": list(self.backends.keys),
            "weights": None if self.backends.weights is None else list(self.backends.weights),
            "entries": self.entries.tolist(),
            "digest": self.digest,
        }


def read_backends(path: Path, weights_path: Path | None = None) -> Backends:
    """Reads a backend file, and the weights from another one if given.

    Args:
        path: the backend file. Either all of its backends have a weight or none has.
        weights_path: a backend file in which each backend of `path`, and no other, has its weight.

    Raises:
        RequestError: an unreadable or empty file, a line that is not understood, a backend given twice (in whatever
            spelling) or a malformed UUID, weights that are missing, negative or not finite.
    """
    path = Path(path)
    backends = _as_backends(_read_pairs(path), path)
    if weights_path is None:
        return backends
    weights_path = Path(weights_path)
    given = _as_backends(_read_pairs(weights_path), weights_path)
    if given.weights is None:
        raise RequestError(f"expected a weight for each backend in {weights_path}, as in '10.0.0.1:80 2', but got none")
    by_key = dict(zip(given.keys, given.weights, strict=True))
    for key in backends.keys:
        if key not in by_key:
            raise RequestError(f"expected a weight for each backend in {weights_path}, but {key!r} has none")
    for key in given.keys:
        if key not in backends.keys:
            raise unknown_name(f"backend in {weights_path}", key, backends.keys)
    return Backends(backends.keys, tuple(by_key[key] for key in backends.keys))


def builder_for(
    algorithm: str | None, size: int, backends: Backends, roster: Backends | None, rankings: str | None
) -> registry.Builder:
    """The builder that is asked for: one by name, or that of a roster, by rankings (`lab.tables.rankings.of_roster`).

    Raises:
        RequestError: as `lab.tables.describe` and `of_roster`; an algorithm and a roster, or neither; rankings alone.
    """
    if (algorithm is None) == (roster is None):
        raise RequestError(f"expected an algorithm or a roster, but got {'neither' if roster is None else 'both'}")
    if roster is None:
        if rankings is not None:
            raise RequestError(f"expected a roster with rankings, but got an algorithm, {algorithm}")
        return registry.describe(str(algorithm))
    from lab.tables.rankings import of_roster  # torch takes seconds

    return of_roster(roster.keys, size, backends.keys, rankings)


def build_table(builder: str | registry.Builder, size: int, backends: Backends) -> TableDocument:
    """Builds the table of `backends`.

    Raises:
        RequestError: as `lab.tables.build`.
    """
    if isinstance(builder, str):
        builder = registry.describe(builder)
    entries = registry.build_with(builder, backends.keys, size, backends.weights)
    return TableDocument(builder.name, builder.version, backends, entries)


def write_table(path: Path, document: TableDocument, *, force: bool = False) -> None:
    """Writes a table file, whole or not at all.

    Args:
        path: the file.
        document: what it is to say.
        force: whether it may replace a file that is there.

    Raises:
        RequestError: `path` is a folder, or is there and `force` is not given.
        WorkError: it cannot be written.
    """
    refuse_to_replace(path, force=force)
    # A field a line: tables of 65,537 entries stay readable, and `diff` shows which field differs.
    fields = (f"  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in document.to_json().items())
    write_text(Path(path), "{\n" + ",\n".join(fields) + "\n}\n")


def refuse_to_replace(path: Path, *, force: bool) -> None:
    """Raises RequestError if writing `path` would lose something: called before the work, not only after it."""
    path = Path(path)
    if path.is_dir():
        raise RequestError(f"expected a file to write, but {path} is a folder")
    if path.exists() and not force:
        raise RequestError(f"expected a new file, but {path} is there: pass --force to replace it")


def read_table(path: Path) -> TableDocument:
    """Reads a table file.

    Raises:
        RequestError: in one line, what is wrong with it: not there, truncated, another format, a field missing or of
            the wrong type, a wrong number of entries or one out of range, a backend twice, an unknown algorithm, or
            entries that are not those the digest was taken of.
    """
    path = Path(path)
    fields = read_json(path, "table file")
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        got = fields.get("format") if isinstance(fields, dict) else type(fields).__name__
        raise RequestError(f"expected a table file of format {FORMAT} at {path}, but got {got!r}")
    for name in fields:
        if name not in _FIELDS:
            raise unknown_name(f"field of the table file {path}", name, _FIELDS)
    algorithm, version, size = _field(fields, "algorithm", str, path), *_whole(fields, ("version", "size"), path)
    plain, colon, _ = algorithm.partition(":")
    if not colon and plain not in {builder.name for builder in registry.spectrum()}:
        raise unknown_name(f"algorithm in {path}", algorithm, registry.names())
    keys = _field(fields, "backends", list, path)
    weights = fields.get("weights")
    if weights is None:
        weights = [None] * len(keys)
    elif not isinstance(weights, list) or len(weights) != len(keys):
        raise RequestError(f"expected null or {len(keys)} weights in {path}, a weight a backend, but got others")
    # An empty set is a table too: all its entries are -1.
    pairs = list(zip(keys, weights, strict=True))
    backends = _as_backends(pairs, path) if pairs else Backends(())
    entries = _field(fields, "entries", list, path)
    if len(entries) != size:
        raise RequestError(f"expected {size} entries in {path}, as its size says, but got {len(entries)}: truncated?")
    for place, entry in enumerate(entries):
        if type(entry) is not int or not -1 <= entry < len(keys):
            raise RequestError(
                f"expected entries of {path} in -1..{len(keys) - 1}, indices of its backends, "
                f"but entry {place} is {entry!r}"
            )
    document = TableDocument(algorithm, version, backends, np.array(entries, dtype=np.int32))
    if fields.get("digest", document.digest) != document.digest:
        raise RequestError(f"expected {path} as it was written, but its entries are not those of its digest: edited?")
    return document


def _field(fields: Mapping[str, Any], name: str, kind: type, path: Path) -> Any:
    value = fields.get(name)
    if not isinstance(value, kind):
        raise RequestError(f"expected {name!r} in {path} to be a {kind.__name__}, but got {value!r:.60}")
    return value


def _whole(fields: Mapping[str, Any], names: Sequence[str], path: Path) -> list[int]:
    values = [fields.get(name) for name in names]
    for name, value in zip(names, values, strict=True):
        if type(value) is not int or value < 1:
            raise RequestError(f"expected {name!r} in {path} to be a whole number from 1 up, but got {value!r:.60}")
    return [value for value in values if value is not None]


def _read_pairs(path: Path) -> list[tuple[Any, Any]]:
    """The (key, weight or None) pairs of a backend file, as they stand there."""
    if path.suffix == ".json":
        listed = read_json(path, "backend file")
        if isinstance(listed, dict):
            # Read again as pairs: a dict has dropped all but the last of a backend that is there twice.
            return list(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list))
        if isinstance(listed, list):
            return [(key, None) for key in listed]
        raise RequestError(f"expected a list of backends, or key -> weight, in {path}, but got {listed!r:.60}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise RequestError(f"expected a backend file at {path}, but there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"expected a readable backend file at {path}, but got: {error}") from None
    pairs: list[tuple[Any, Any]] = []
    for number, line in enumerate(lines, start=1):
        words = _without_comment(line).split()
        if len(words) > 2:
            raise RequestError(
                f"expected 'key' or 'key weight' on line {number} of {path}, but got {line.strip()!r:.80}"
            )
        if words:
            pairs.append((words[0], _number(words[1], number, path) if len(words) == 2 else None))
    return pairs


def _without_comment(line: str) -> str:
    """A `#` starts a comment at the start of a word; inside a word it belongs to the key."""
    words = line.split()
    first = next((place for place, word in enumerate(words) if word.startswith("#")), len(words))
    return " ".join(words[:first])


def _number(text: str, line: int, path: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestError(f"expected a number as weight on line {line} of {path}, but got {text!r:.60}") from None


def _as_backends(pairs: Sequence[tuple[Any, Any]], path: Path) -> Backends:
    if not pairs:
        raise RequestError(f"expected at least one backend in {path}, but it has none")
    keys: list[str] = []
    seen: dict[str, str] = {}
    for key, _ in pairs:
        try:
            canonical = canonical_id(key)
        except RequestError as error:
            raise RequestError(f"{error} (in {path})") from None
        if canonical in seen:
            spelled = "" if key == seen[canonical] else f", once as {seen[canonical]!r}"
            raise RequestError(f"expected each backend once in {path}, but {key!r} is there twice{spelled}")
        seen[canonical] = key
        keys.append(canonical)
    weights = [weight for _, weight in pairs if weight is not None]
    if not weights:
        return Backends(tuple(keys))
    for key, weight in pairs:
        if weight is None:
            raise RequestError(f"expected a weight for all backends in {path} or for none, but {key!r} has none")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not _is_weight(weight):
            raise RequestError(f"expected a finite weight >= 0 for {key!r} in {path}, but got {weight!r:.60}")
    if not any(weights):
        raise RequestError(f"expected at least one weight above 0 in {path}, but all are 0: no backend would be left")
    return Backends(tuple(keys), tuple(float(weight) for weight in weights))


def _is_weight(value: float) -> bool:
    """Also for whole numbers too large for a float, which JSON may hold."""
    return 0 <= value <= sys.float_info.max
