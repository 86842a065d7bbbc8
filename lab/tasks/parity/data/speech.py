"""Speech Commands (Warden, arXiv 1804.03209) as spectrograms, with the parameters of the parity-models reference."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lab.errors import RequestError
from lab.tasks.parity.data.dataset import Part, Source
from lab.tasks.parity.data.folders import class_files, find_folder

__all__ = ["RATE", "read_wav", "spectrogram", "speech_commands"]

RATE = 16_000
"""Samples a second; also the samples of a recording, which is one second long."""

_WINDOW, _HOP = 320, 160
_LIMIT = 200_000


def speech_commands(data_dir: Path) -> Source:
    """Recordings in `speech-commands` or `gcommands`, a folder for each word, as float32 (N, 1, 161, 101).

    Either the folders `train`, `valid` and `test` hold the words, or `validation_list.txt` and `testing_list.txt` name
    the files of those parts, as in the archive of the authors; the words are those of the training part.

    Raises:
        RequestError: a folder or file is missing or wrong.
    """
    root = find_folder(data_dir, ("speech-commands", "gcommands"))
    if (root / "train").is_dir():
        words = _words(root / "train")
        listed = [class_files(root / part, words, (".wav",)) for part in ("train", "valid", "test")]
    else:
        words = _words(root)
        files = class_files(root, words, (".wav",))
        held = [_names(root / f"{part}_list.txt") for part in ("validation", "testing")]
        kept: dict[str, list[tuple[Path, int]]] = {"train": [], "valid": [], "test": []}
        for path, label in files:
            name = f"{path.parent.name}/{path.name}"
            kept["valid" if name in held[0] else "test" if name in held[1] else "train"].append((path, label))
        listed = list(kept.values())
    train, validation, test = (_part(files, root) for files in listed)
    # Each spectrogram is standardised by itself.
    return Source(train, validation, test, len(words), torch.zeros(1, 1, 1), torch.ones(1, 1, 1))


def read_wav(path: Path) -> NDArray[np.float32]:
    """One second of sound in [-1, 1), float32 (16000,); a shorter recording has silence behind it.

    Raises:
        RequestError: it is no WAV file of 16-bit mono sound at 16,000 samples a second, is longer, or is truncated.
    """
    try:
        with wave.open(str(path)) as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            count = file.getnframes()
            if form != (1, 2, RATE):
                raise RequestError(
                    f"expected 16-bit mono at {RATE:,} samples a second at {path}, "
                    f"but got {8 * form[1]}-bit, {form[0]} channels, {form[2]:,}"
                )
            if not 1 <= count <= RATE:
                raise RequestError(f"expected from 1 to {RATE:,} samples at {path}, but its header says {count:,}")
            data = file.readframes(count)
    except (wave.Error, EOFError, OSError) as error:
        raise RequestError(f"expected a WAV file at {path}, but got: {error or 'a truncated one'}") from None
    if len(data) != 2 * count:
        raise RequestError(f"expected {count:,} samples at {path}, but it is truncated")
    sound = np.zeros(RATE, np.float32)
    sound[:count] = np.frombuffer(data, "<i2").astype(np.float32) / 32768
    return sound


def spectrogram(sound: Tensor) -> Tensor:
    """`log(1 + magnitude)` of 20 ms Hamming windows every 10 ms, standardised: float32 (N, 16000) to (N, 161, 101)."""
    window = torch.hamming_window(_WINDOW)
    spectrum = torch.stft(sound, _WINDOW, _HOP, window=window, pad_mode="constant", return_complex=True)
    level = spectrum.abs().log1p()
    deviation = level.std(dim=(1, 2), keepdim=True)
    return (level - level.mean(dim=(1, 2), keepdim=True)) / torch.where(deviation > 0, deviation, 1.0)


def _part(files: list[tuple[Path, int]], root: Path) -> Part:
    if not 1 <= len(files) <= _LIMIT:
        raise RequestError(f"expected from 1 to {_LIMIT:,} recordings in each part of {root}, but got {len(files):,}")
    inputs = torch.empty(len(files), 1, _WINDOW // 2 + 1, RATE // _HOP + 1)
    for start in range(0, len(files), 256):
        sounds = np.stack([read_wav(path) for path, _ in files[start : start + 256]])
        inputs[start : start + 256, 0] = spectrogram(torch.from_numpy(sounds))
    # Folders are read word after word; groups of a part are consecutive.
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(files)))
    return Part(inputs[order], torch.tensor([label for _, label in files])[order])


def _words(root: Path) -> list[str]:
    # The archive has a folder of noise beside those of the words.
    words = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    if len(words) < 2:
        raise RequestError(f"expected a folder for each of at least two words in {root}, but got {len(words)}")
    return words


def _names(path: Path) -> set[str]:
    try:
        return set(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        raise RequestError(f"expected {path.name} in {path.parent}, or folders train, valid and test") from None
