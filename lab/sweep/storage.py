"""Where the checkpoints of a sweep lie: a folder, or a bucket."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs
from ray import tune

from lab.errors import RequestError

__all__ = ["Storage", "check_nodes", "open_storage", "unseen"]


@dataclass(frozen=True)
class Storage:
    """A place for checkpoints; it travels to the trials.

    Attributes:
        root: the folder; on a bucket the path as its file system has it (`bucket/folder`).
        scheme: of the bucket (`s3`), None for a folder.
        filesystem: of the bucket, None for a folder.
    """

    root: str
    scheme: str | None = None
    filesystem: pyarrow.fs.FileSystem | None = None

    def address(self, checkpoint: tune.Checkpoint) -> str:
        """How the journal names a checkpoint: its path, or a URI."""
        return str(checkpoint.path) if self.scheme is None else f"{self.scheme}://{checkpoint.path}"

    def checkpoint(self, address: str | None) -> tune.Checkpoint | None:
        """The checkpoint that the journal names; None if it names none or it is no longer there.

        Raises:
            RequestError: it is not in this storage. A journal that came from elsewhere must not name any file.
        """
        if address is None:
            return None
        if not self._holds(address):
            raise RequestError(f"expected a checkpoint under {self.root}, but the journal names {address}")
        if self.scheme is None or self.filesystem is None:
            return tune.Checkpoint.from_directory(address) if Path(address).is_dir() else None
        path = address.removeprefix(f"{self.scheme}://")
        if self.filesystem.get_file_info(path).type == pyarrow.fs.FileType.NotFound:
            return None
        return tune.Checkpoint(path, filesystem=self.filesystem)

    def _holds(self, address: str) -> bool:
        if self.scheme is None:
            # Neither `..` nor a link leads out.
            return Path(self.root).resolve() in Path(address).resolve().parents
        path = address.removeprefix(f"{self.scheme}://")
        return path.startswith(f"{self.root}/") and ".." not in path.split("/")


def open_storage(place: str) -> Storage:
    """The storage at `place`, a path or a URI, after a file was written there and taken away again.

    Raises:
        RequestError: the URI is of no known kind, or nothing can be written there.
    """
    scheme = urlsplit(place).scheme if "://" in place else ""
    if scheme == "file":
        place, scheme = urlsplit(place).path, ""
    probe = f".probe-{secrets.token_hex(8)}"
    try:
        if not scheme:
            folder = Path(place)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / probe).touch()
            (folder / probe).unlink()
            return Storage(str(folder))
        filesystem, root = resolve_bucket(place)
        root = root.rstrip("/")
        filesystem.create_dir(root)
        with filesystem.open_output_stream(f"{root}/{probe}") as stream:
            stream.write(b"")
        filesystem.delete_file(f"{root}/{probe}")
    except (OSError, pa.ArrowException, ValueError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise RequestError(f"expected a folder or bucket that can be written as storage, but {place}: {why}") from error
    return Storage(root, scheme, filesystem)


def resolve_bucket(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """The file system of a URI and the path on it."""
    found: tuple[pyarrow.fs.FileSystem, str] = pyarrow.fs.FileSystem.from_uri(uri)
    return found


def check_nodes(folder: Path, nodes: Mapping[str, str], sees: Callable[[str, str], bool]) -> None:
    """Makes sure that every node sees `folder` as this process does, by a file that is written for the occasion.

    Args:
        folder: the storage.
        nodes: Ray's id of each node that is alive -> its address, for the message.
        sees: (node id, path) -> whether that node has a file at the path.

    Raises:
        RequestError: a node does not see it: trials there would lose their checkpoints.
    """
    probe = folder / f".probe-{secrets.token_hex(8)}"
    probe.touch()
    try:
        blind = [address for node, address in nodes.items() if not sees(node, str(probe))]
    finally:
        probe.unlink(missing_ok=True)
    if blind:
        raise unseen(folder, f"all {len(nodes)} nodes see", ", ".join(sorted(blind)))


def unseen(folder: Path, who: str, where: str) -> RequestError:
    """What to raise for a storage that is not there on the nodes `where`."""
    return RequestError(
        f"expected --storage that {who} (a shared folder, or a bucket such as s3://...), "
        f"but {folder} is not there on {where}"
    )
