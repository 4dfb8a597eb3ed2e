"""Figures as text and as pictures (PNG): reliability diagram, confusion matrix, contact sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # there may be no display
from matplotlib import pyplot as plt

Reliability = Sequence[dict[str, float]]


def write_report(folder: Path, title: str, metrics: dict[str, Any], reliability: Reliability, confusion: np.ndarray) -> None:
    """report.txt, reliability.png and confusion.png into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.txt").write_text(as_text(title, metrics, reliability, confusion), encoding="utf-8")
    reliability_png(folder / "reliability.png", {title: reliability})
    confusion_png(folder / "confusion.png", title, confusion)


def as_text(title: str, metrics: dict[str, Any], reliability: Reliability, confusion: np.ndarray) -> str:
    """The whole report for people without pictures."""
    lines = [
        title,
        "",
        f"accuracy {metrics['accuracy']:.4%} ({round(metrics['n'] * (1 - metrics['accuracy']))} errors of {metrics['n']})",
        f"NLL      {metrics['nll']:.5f}",
        f"ECE      {metrics['ece']:.5f} over 15 bins; a perfectly calibrated model of this accuracy would show {metrics['ece_floor']:.5f}",
        "",
        "errors by true digit  " + "  ".join(f"{digit}: {count}" for digit, count in enumerate(metrics["errors_by_digit"])),
        "",
        "confidence      count   mean confidence   accuracy",
        *(
            f"{row['low']:.2f} to {row['high']:.2f}  {row['count']:6d}   {row['confidence']:15.4f}   {row['accuracy']:8.4f}"
            for row in reliability
            if row["count"]
        ),
        "",
        "true digit (row) read as (column)",
        "    " + "".join(f"{digit:6d}" for digit in range(10)),
        *(f"{digit:4d}" + "".join(f"{count or '.':>6}" for count in row) for digit, row in enumerate(confusion.tolist())),
    ]
    return "\n".join(lines) + "\n"


def reliability_png(path: Path, diagrams: Mapping[str, Reliability]) -> None:
    """Accuracy against confidence for each title; the number of answers is written at each point."""
    figure, axes = plt.subplots(1, len(diagrams), figsize=(5 * len(diagrams), 5), squeeze=False)
    for axis, (title, rows) in zip(axes[0], diagrams.items(), strict=True):
        held = [row for row in rows if row["count"]]
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
        axis.plot([row["confidence"] for row in held], [row["accuracy"] for row in held], marker="o", color="tab:blue")
        for row in held:
            axis.annotate(f"{row['count']}", (row["confidence"], row["accuracy"]), fontsize=7, xytext=(4, -9), textcoords="offset points")
        axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", title=title)
    _save(figure, path)


def confusion_png(path: Path, title: str, confusion: np.ndarray) -> None:
    """The confusion matrix with its counts; colour shows the errors only."""
    figure, axis = plt.subplots(figsize=(5.5, 5.5))
    errors = confusion * (1 - np.eye(10, dtype=int))
    axis.imshow(errors, cmap="Reds", vmin=0, vmax=max(1, errors.max()))
    for row, column in np.argwhere(confusion > 0):
        axis.text(column, row, str(confusion[row, column]), ha="center", va="center", fontsize=8)
    axis.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="true digit", title=title)
    _save(figure, path)


def contact_sheet(path: Path, frames: np.ndarray, words: Sequence[str], columns: int = 10) -> None:
    """The frames uint8[N, 28, 28] side by side, dark on light, each with its words below."""
    rows = max(1, -(-len(frames) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(columns, 1.25 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, frame, word in zip(axes.flat, frames, words, strict=False):
        axis.imshow(frame, cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(word, fontsize=7, y=-0.28)
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})  # no version in the file: the same figures give the same bytes
    plt.close(figure)
