"""MNIST's four files, checked, and the parts they are split into.

The 60,000 training images are split by a fixed seed into `fit`, for the weights, and `validation`, for temperature, threshold and gate. The
10,000 test images choose nothing: they score a finished model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.errors import DataError
from trainer.idx import find_idx, read_idx

CLASSES = 10
_SPLIT_SEED = 60_000  # arbitrary
_NAMES = {"train": "train-{}-idx{}-ubyte", "test": "t10k-{}-idx{}-ubyte"}


@dataclass(frozen=True)
class Digits:
    """Images of digits and their labels."""

    images: np.ndarray
    """uint8[N, 28, 28], 0 paper, 255 ink."""
    labels: np.ndarray
    """uint8[N], the true digits."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: np.ndarray | slice) -> "Digits":
        return Digits(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Mnist:
    """The content of the four files."""

    train: Digits
    test: Digits
    sums: dict[str, str]
    """SHA-256 of each (unpacked) file."""


def load_mnist(folder: Path) -> Mnist:
    """The training and the test part. Raises Refused for a file that is missing or not valid."""
    train, train_sums = load_digits(folder, "train")
    test, test_sums = load_digits(folder, "test")
    return Mnist(train, test, {**train_sums, **test_sums})


def load_digits(folder: Path, part: str) -> tuple[Digits, dict[str, str]]:
    """MNIST's part "train" or "test", and the SHA-256 of its files by name. Raises Refused for a file that is missing or not valid."""
    images_path, labels_path = (find_idx(folder, _NAMES[part].format(*kind)) for kind in (("images", 3), ("labels", 1)))
    images, images_sum = read_idx(images_path, dims=3)
    labels, labels_sum = read_idx(labels_path, dims=1)
    digits = Digits(images, labels)
    check_digits(digits, images_path, labels_path)
    return digits, {path.name.removesuffix(".gz"): value for path, value in ((images_path, images_sum), (labels_path, labels_sum))}


def check_digits(digits: Digits, images_path: Path, labels_path: Path) -> None:
    """Raises DataError where images and labels cannot belong together."""
    images, labels = digits.images, digits.labels
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_path}: wanted images of 28x28, found {images.shape[1]}x{images.shape[2]}")
    if len(images) != len(labels):
        raise DataError(f"{labels_path}: wanted {len(images)} labels, one for each image, found {len(labels)}")
    if len(labels) and labels.max() >= CLASSES:
        raise DataError(f"{labels_path}: wanted labels 0 to 9, found {labels.max()} at index {labels.argmax()}")
    missing = sorted(set(range(CLASSES)) - set(labels.tolist()))
    if missing:
        raise DataError(f"{labels_path}: wanted all ten digits, found none of {', '.join(map(str, missing))}")
    flat = images.reshape(len(images), -1)
    constant = np.flatnonzero(flat.max(axis=1) == flat.min(axis=1))
    if len(constant):
        raise DataError(f"{images_path}: wanted ink on paper, found {len(constant)} constant images, the first at index {constant[0]}")


def split(digits: Digits) -> tuple[Digits, Digits]:
    """(fit, validation): the latter is a twelfth (5,000 of 60,000, as is usual for MNIST), chosen at random but always the same.

    The seed of the run has no part in it, since the gate compares two models on images to which neither was fitted.
    """
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(digits))
    cut = max(CLASSES, len(digits) // 12)
    return digits[order[cut:]], digits[np.sort(order[:cut])]
