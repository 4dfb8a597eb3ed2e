"""Scores as text and as pictures (PNG): reliability diagram, confusion matrix, contact sheet."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # there may be no display
from matplotlib import pyplot as plt

from trainer.metrics import Scores

Reliability = Sequence[dict[str, float]]


def write_report(folder: Path, title: str, scores: Scores) -> None:
    """report.txt, reliability.png and confusion.png into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.txt").write_text(as_text(title, scores), encoding="utf-8")
    reliability_png(folder / "reliability.png", {title: scores.reliability})
    confusion_png(folder / "confusion.png", title, scores.confusion)


def as_text(title: str, scores: Scores) -> str:
    """The report as text."""
    lines = [
        title,
        "",
        f"accuracy {scores.accuracy:.4%} ({sum(scores.errors_by_digit)} errors of {scores.n})",
        f"NLL      {scores.nll:.5f} nats",
        f"ECE      {scores.ece:.5f} over 15 bins; a perfectly calibrated model of this accuracy would show {scores.ece_floor:.5f}",
        "",
        "errors by true digit  " + "  ".join(f"{digit}: {count}" for digit, count in enumerate(scores.errors_by_digit)),
        "",
        "probability     count  mean probability   accuracy",
        *(
            f"{row['low']:.2f} to {row['high']:.2f}  {row['count']:6d}   {row['confidence']:15.4f}   {row['accuracy']:8.4f}"
            for row in scores.reliability
            if row["count"]
        ),
        "",
        "true digit (row) read as (column)",
        "    " + "".join(f"{digit:6d}" for digit in range(10)),
        *(f"{digit:4d}" + "".join(f"{count or '.':>6}" for count in row) for digit, row in enumerate(scores.confusion.tolist())),
    ]
    return "\n".join(lines) + "\n"


def reliability_png(path: Path, diagrams: Mapping[str, Reliability], quantity: str = "probability of the likeliest digit") -> None:
    """Accuracy against `quantity` for each title; the number of predictions is written at each point."""
    figure, axes = plt.subplots(1, len(diagrams), figsize=(5 * len(diagrams), 5), squeeze=False)
    for axis, (title, rows) in zip(axes[0], diagrams.items(), strict=True):
        filled = [row for row in rows if row["count"]]
        axis.plot([0, 1], [0, 1], color="grey", linewidth=1)
        axis.plot([row["confidence"] for row in filled], [row["accuracy"] for row in filled], marker="o", color="tab:blue")
        for row in filled:
            axis.annotate(f"{row['count']}", (row["confidence"], row["accuracy"]), fontsize=7, xytext=(4, -9), textcoords="offset points")
        axis.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel=quantity, ylabel="accuracy", title=title)
    _save(figure, path)


def risk_coverage_png(path: Path, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Risk, the share of wrong answers, against coverage, the share of drawings answered: a curve for each title."""
    figure, axis = plt.subplots(figsize=(6, 4.5))
    for title, (coverage, risk) in curves.items():
        axis.plot(coverage, risk, label=title)
    axis.set(xlim=(0, 1), ylim=(0, None), xlabel="coverage: share of drawings answered, the surest first", ylabel="risk: share wrong")
    axis.legend(fontsize=8)
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


def contact_sheet(path: Path, frames: np.ndarray, captions: Sequence[str], columns: int = 10) -> None:
    """The frames uint8[N, 28, 28] side by side, dark on light, each with its caption below."""
    rows = max(1, -(-len(frames) // columns))
    figure, axes = plt.subplots(rows, columns, figsize=(columns, 1.25 * rows), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, frame, caption in zip(axes.flat, frames, captions, strict=False):
        axis.imshow(frame, cmap="gray_r", vmin=0, vmax=255)
        axis.set_title(caption, fontsize=7, y=-0.28)
    _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=100, metadata={"Software": None})  # no version in the file: the same figures give the same bytes
    plt.close(figure)
