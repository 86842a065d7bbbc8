"""Prints a digest of tables of each builder, as `name@version`.

A table function may never change silently. Where a digest in golden.json is no longer what this prints, load balancers
of two releases would disagree: give the builder a new version, and add its line.

    python tests/lab/tables/golden.py > tests/lab/tables/golden.json
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import uuid

from lab.tables import build, spectrum

FLEETS: list[list[uuid.UUID | str]] = [
    [],
    ["10.0.0.1:80"],
    [f"10.0.{i}.1:443" for i in range(7)],
    [uuid.UUID(int=i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128, version=4) for i in range(27)],
    [f"ünïcode-{i}" for i in range(60)],
]
SIZES = (61, 1021)


def digests(shuffle_seed: int | None = None) -> dict[str, str]:
    """SHA-256 over the owners of every entry of a few tables, for each stateless builder."""
    result = {}
    for builder in spectrum():
        if not builder.stateless:
            continue
        digest = hashlib.sha256()
        for fleet in FLEETS:
            weights: dict[uuid.UUID | str, float] = {key: 0.3 * (i % 4) for i, key in enumerate(fleet)}
            ids = list(fleet)
            if shuffle_seed is not None:
                random.Random(shuffle_seed).shuffle(ids)
            for size in SIZES:
                tables = [build(builder.name, ids, size)]
                if builder.weighted and len(ids) > 1:
                    tables.append(build(builder.name, ids, size, [weights[key] for key in ids]))
                for table in tables:
                    digest.update("\n".join(str(ids[i]) if i >= 0 else "-" for i in table).encode())
        result[f"{builder.name}@{builder.version}"] = digest.hexdigest()
    return result


if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else None
    print(json.dumps(digests(seed), indent=2))
