"""docs/model-card.md: what the model is, how it was made, every figure with its conditions. Written by `trainer evaluate --card` alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pynumdraw import ink
from trainer.config import Recipe
from trainer.errors import Refused
from trainer.evaluate import Evaluation
from trainer.glyphs import DIGITS
from trainer.report import confusion_png, contact_sheet, reliability_png

_PERCENT = ("accuracy", "rejected", "let through", "FPR", "answered at", "worst writer")

_TEXT = """\
# Model card: {name}

This page is written by `make evaluate`; do not edit it.

## What it is

A convolutional network of {parameters:,} parameters ({layers}; channels, kernel and stride of each layer) that reads one handwritten
digit in a 28x28 frame. It answers three questions: which digit, how sure (a calibrated probability), and whether it is a digit at all.
It is meant for digits that people draw in the page, through `pynumdraw.ink` (ink version {ink}). It is not meant for reading amounts on
cheques, or for anything else where a wrong digit costs somebody something.

## Data

The four MNIST files (LeCun, Cortes and Burges) and what the code draws itself, nothing else. 55,000 of the training images fit the
weights; 5,000, always the same, choose temperature and threshold and serve the gate; the 10,000 test images are scored when a model is
finished.

{sums}

## Method

- Recipe `{recipe}`: {steps:,} steps of Muon (convolutions) and Adam (the rest) with a one-cycle rate, weights averaged (decay {ema}),
  batches of {mnist} MNIST digits, {synthetic} drawn digits and {non_digits} non-digits, label smoothing {label_smoothing:g};
  each gradient is taken {sam_rho:g} further up the loss than the weights are (sharpness-aware, Foret et al. 2021; 0: not).
- Drawn digits: {styles} styles of ten digits as strokes (open, closed and one-stroke 4, barred 7, flagged and footed 1, hooked 9,
  slashed 0, …), each written anew with points astray, another slant and stretch, ends too long or short; rasterised by `pynumdraw.ink`.
- Non-digits: letters, signs, characters of no alphabet, figures, scribbles, several digits, crossed-out, turned and mixed digits, blobs,
  textures, two of MNIST's digits side by side. All but the last three are strokes, and all pass through the very augmentation of the
  digits: a warp (turn, slant, stretch, bend) and a pen that is thicker or thinner. Some letters and plain signs may be read as a digit
  (O, I, S, y, a corner, …), about as often as in alphabets: a digit of such a shape is a little less surely one.
- Digit or not is learned from the sum of a score of its own and the negative free energy of the ten logits (Liu et al. 2020), so what
  looks like none of the ten digits is none. A digit of MNIST weighs {share:g} there and a drawn one 1: no non-digit looks like MNIST's
  scans, and a network that learns for long would take such looks for the sign of a digit.
- Pen width in the frame {pen} px, with which drawings have MNIST's mean mass of ink.
- Temperature {temperature:.3f}: fitted on the validation images and on fresh drawn digits, each as they are and warped, so that
  confidence also holds for hands that are not MNIST's. `is_digit_probability` is fitted apart, to that score and that energy,
  on the same digits and fresh non-digits, at a prior of {prior:g}; a drawing is accepted from
  {threshold:.3f} on, which rejects {rejected:.1%} of the validation and drawn digits when they are warped harder than for training.
  Ambiguous: accepted, confidence at most {max_confidence:g}, the two likeliest together at least {min_pair:g}.

## Figures

{models}; where there are several, mean ± standard deviation. "Let through" and "rejected" are at the served threshold.

| measure | value | conditions |
| --- | --- | --- |
{table}

ECE is over 15 bins of equal width. The row beside it says what a perfectly calibrated model with the same answers would score by
chance at that n.

![Reliability diagrams](model-card/reliability.png)

![Confusion matrix, MNIST test](model-card/confusion.png)

The surest errors ({worst}): true digit, what it was read as, confidence.

![The surest errors](model-card/errors.png)

## Known limits

- One digit at a time: two side by side are answered "not a digit", not read.
- Shapes that are a digit to some and a letter to others (O, l, Z, S, b, q, …) are mostly accepted as digits.
- Some characters of other scripts look like digits (as 7, 1 or 9 without their neighbours); those are accepted too.
- The synthetic rows ("drawn by `trainer`") come from the generators that made the training data, with other seeds: they show that the model
  learned them, not how it meets kinds of drawing that nobody thought of. The rows of real pens do not have that weakness.
- Repeatable: the same seed gives the same model on the same machine with {threads} threads; another CPU may round otherwise.
"""


def write_card(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """The page, and its pictures in a folder beside it."""
    last = evaluations[-1]
    pictures = path.parent / "model-card"
    pictures.mkdir(parents=True, exist_ok=True)
    reliability_png(pictures / "reliability.png", last.reliability)
    confusion_png(pictures / "confusion.png", "MNIST test", last.confusion)
    contact_sheet(pictures / "errors.png", *last.worst, columns=8)
    path.write_text(_page(evaluations), encoding="utf-8")


def table(evaluations: Sequence[Evaluation]) -> list[tuple[str, str, str]]:
    """(measure, value, conditions) of each row: mean ± standard deviation where there are several versions."""
    first = evaluations[0]
    return [(name, _value(name, [e.figures[name] for e in evaluations]), first.conditions[name]) for name in first.figures]


def _page(evaluations: Sequence[Evaluation]) -> str:
    last = evaluations[-1]
    made = last.manifest
    if "settings" not in made:
        raise Refused(f"version {last.version} does not tell the settings it was made with; `python -m trainer fit` makes one that does")
    recipe = Recipe(**made["settings"])
    seeds = ", ".join(str(e.manifest["seed"]) for e in evaluations)
    spent = ", ".join(f"{e.manifest['seconds']:.0f}" for e in evaluations)
    calibration = made["calibration"]
    return _TEXT.format(
        name=made["model"],
        parameters=made["parameters"],
        layers=", ".join("/".join(map(str, layer)) for layer in recipe.layers),
        ink=made["ink_version"],
        sums="\n".join(f"- `{file}`: SHA-256 `{value}`" for file, value in made["data"].items()),
        recipe=recipe.name,
        steps=recipe.steps,
        ema=recipe.ema_decay,
        mnist=recipe.mnist_batch,
        synthetic=recipe.synthetic_batch,
        non_digits=recipe.non_digit_batch,
        label_smoothing=recipe.label_smoothing,
        sam_rho=recipe.sam_rho,
        share=recipe.mnist_ood_weight,
        styles=sum(map(len, DIGITS.values())),
        pen=ink.FRAME_PEN_PX,
        temperature=calibration["temperature"],
        prior=calibration["prior"],
        threshold=calibration["threshold"],
        rejected=calibration["rejected"],
        max_confidence=calibration["max_confidence"],
        min_pair=calibration["min_pair"],
        models=f"{len(evaluations)} model(s) of recipe `{recipe.name}`, seed {seeds}, made in {spent} s with {made['threads']} threads "
        f"and TensorFlow {made['tensorflow']}",
        table="\n".join("| " + " | ".join(row) + " |" for row in table(evaluations)),
        worst=", ".join(last.reliability),
        threads=made["threads"],
    )


def _value(name: str, values: Sequence[float | None]) -> str:
    held = [value for value in values if value is not None]
    if len(held) < len(values) or not held:
        return "not measured"
    percent = any(word in name for word in _PERCENT) and "AUROC" not in name
    digits = 2 if percent or any(word in name for word in ("MB", "times", "ms an")) else 0 if name == "parameters" else 4
    scale, unit = (100, " %") if percent else (1, "")
    mean = f"{np.mean(held) * scale:,.{digits}f}"
    return f"{mean}{unit}" if len(held) == 1 else f"{mean} ± {np.std(held, ddof=1) * scale:,.{digits}f}{unit}"
