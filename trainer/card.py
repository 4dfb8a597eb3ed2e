"""docs/model-card.md: what the model is, how it was made, every metric with its conditions. Written by `trainer evaluate --card` alone."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pynumdraw import ink
from trainer.config import Recipe
from trainer.errors import Refused
from trainer.evaluate import Evaluation
from trainer.glyphs import DIGITS
from trainer.metrics import ECE_BINS, format_mean
from trainer.mixture import NON_DIGIT_SHARES
from trainer.report import confusion_png, contact_sheet, reliability_png, risk_coverage_png

_EDGES = [k / ECE_BINS for k in range(ECE_BINS + 1)]

_TEXT = """\
# Model card: {name}

This page is written by `make evaluate`; do not edit it.

## What it is

A convolutional network that reads one handwritten digit in a 28x28 frame. It answers three questions: which digit, how sure (a calibrated
probability), and whether it is a digit at all. It is meant for digits that people draw in the page, through `pynumdraw.ink` (ink version
{ink}). It is not meant for reading amounts on cheques, or for anything else where a wrong digit costs somebody something.

## Data

The four MNIST files (LeCun, Cortes and Burges) and what the code draws itself, nothing else. 55,000 of the training images fit the
weights; 5,000, always the same, choose temperature and threshold and serve the gate; the 10,000 test images are scored when a model is
finished.

{sums}

## Method

{recipes}
- Drawn digits: {styles} styles of ten digits as strokes (open, closed and one-stroke 4, barred 7 with or without a foot, flagged and
  footed 1, hooked 9, slashed 0, …), each written anew with points displaced, another slant and stretch, ends too long or short; some, as
  some of the non-digits, with few points and straight lines between them; rasterised by `pynumdraw.ink`.
- Non-digits: letters, signs, characters of no alphabet, figures, ticks, crosses, arrows, faces, hearts, polygons, bare lines that are not
  steep, scribbles, several digits, crossed-out, turned and mixed digits, blobs, textures; and MNIST's digits side by side, overlaid, turned
  or crossed out. All but these and blobs and textures are strokes, and all pass through the same augmentation as the digits: a warp (turn,
  slant, stretch, bend) and a pen that is thicker or thinner. A few letters may be read as a digit (O, I, S, y, …).
- Digit or not is learned from the sum of a score of its own and the negative free energy of the ten logits (Liu et al. 2020), so what
  looks like none of the ten digits is no digit. There `{recipe}` gives a digit of MNIST the weight {mnist_ood_weight:g}, a drawn one 1: few
  non-digits look like MNIST's scans, and a network that trains for long would take that look for the sign of a digit.
- Pen width in the frame {pen} px, with which drawings have MNIST's mean mass of ink.
- Temperature ({temperature:.3f} in the last `{recipe}`): fitted on the validation images and on fresh drawn digits, each as they are and
  warped, so that confidence also holds for writers who are not MNIST's. `is_digit_probability` is fitted separately, to that score and
  that energy, on the same digits and fresh non-digits (none of a digit's shape), at a prior of {prior:g}; a drawing is accepted from a
  threshold on ({threshold:.3f} in the last `{recipe}`) which rejects {rejected:.1%} of the validation and drawn digits when they are
  warped harder than for training.
  Ambiguous: accepted, the likeliest digit's probability at most {max_probability:g}, that of the two likeliest at least {min_pair:g}.
- `confidence` = `is_digit_probability` x the likeliest digit's probability: the probability that the drawing is a digit and that digit,
  where {prior:.0%} of the drawings are digits. For another share, multiply the odds of `is_digit_probability` by
  odds(that share) / odds({prior:g}). The `probabilities` of the ten digits are conditional: given that it is a digit.

## Metrics

{models}
Where there are several, mean ± standard deviation, and the outermost ends of intervals. "Let through" and "rejected" are at the served
threshold.

{table}

ECE is over 15 bins of equal width. Without more words it is that of the likeliest digit's probability, given that the drawing is a digit;
the row beside it says what a perfectly calibrated model with such predictions would score by chance at that n. The rows of `confidence`
are of the answers that are given where some of the drawings are no digits. The pictures show the last `{recipe}`.

![Reliability diagrams](model-card/reliability.png)

`confidence` among {mixed}, at three mixes:

![Reliability diagrams of confidence](model-card/confidence.png)

![Risk and coverage](model-card/risk-coverage.png)

![Confusion matrix, MNIST test](model-card/confusion.png)

The surest errors ({sets}): true digit, what it was read as, that one's probability.

![The surest errors](model-card/errors.png)

## Known limits

- One digit at a time: two side by side are answered "not a digit", not read.
- Shapes that are a digit to some and a letter to others (O, l, Z, S, b, q, …) are mostly accepted as digits.
- Some characters of other scripts look like digits (as 7, 1 or 9 without their neighbours); those are accepted too.
- The synthetic rows ("drawn by `trainer`") come from the generators that made the training data, with other seeds: they show that the model
  learned them, not how it answers kinds of drawing that nobody thought of. The rows of real pens do not have that weakness.
- Repeatable: the same seed gives the same model on the same machine with {threads} threads; another CPU may round otherwise.
"""

_RECIPE = """\
- Recipe `{name}`: {parameters:,} parameters ({layers}; channels, kernel and stride of each layer);
  {steps:,} steps of Muon (convolutions) and Adam (the rest) with a one-cycle rate, weights averaged (decay {ema_decay}), batches of
  {mnist_batch} MNIST digits, {synthetic_batch} drawn digits and {non_digit_batch} non-digits, label smoothing {label_smoothing:g}."""
_SHARPNESS = """
  From {sam_from:.0%} of the steps on, each gradient is taken {sam_rho:g} up the loss from the weights (rho of sharpness-aware
  minimisation, Foret et al. 2021)."""


def write_card(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write the page, and its pictures into the folder `model-card` beside it. Raises Refused where a version lacks what the page says.

    evaluations: of one recipe or several; the pictures show the last of the first recipe.
    """
    last = next(iter(_by_recipe(evaluations).values()))[-1]
    pictures = path.parent / "model-card"
    pictures.mkdir(parents=True, exist_ok=True)
    reliability_png(pictures / "reliability.png", {name: scores.reliability for name, scores in last.scores.items()})
    titles = [f"{share:.0%} non-digits" for share in NON_DIGIT_SHARES]
    mixtures = list(last.mixtures.values())[-1]
    diagrams = {title: mixture.reliability(_EDGES) for title, mixture in zip(titles, mixtures, strict=True)}
    reliability_png(pictures / "confidence.png", diagrams, "confidence")
    risk_coverage_png(pictures / "risk-coverage.png", {t: m.risk_coverage() for t, m in zip(titles, mixtures, strict=True)})
    confusion_png(pictures / "confusion.png", "MNIST test", last.scores["MNIST test"].confusion)
    contact_sheet(pictures / "errors.png", last.errors.frames, last.errors.captions, columns=8)
    path.write_text(_page(evaluations, last), encoding="utf-8")


def table(evaluations: Sequence[Evaluation]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: each metric's name, its value for each recipe, its conditions. Of several versions: mean ± standard deviation."""
    groups = _by_recipe(evaluations)
    columns = [zip(*(evaluation.metrics for evaluation in group), strict=True) for group in groups.values()]
    rows = []
    for cells in zip(*columns, strict=True):
        ((name, conditions),) = {(metric.name, metric.conditions) for cell in cells for metric in cell}  # the same for all
        rows.append([name, *map(format_mean, cells), conditions])
    return ["metric", *groups, "conditions"], rows


def _by_recipe(evaluations: Sequence[Evaluation]) -> dict[str, list[Evaluation]]:
    groups: dict[str, list[Evaluation]] = {}
    for evaluation in evaluations:
        groups.setdefault(evaluation.manifest["recipe"], []).append(evaluation)
    return groups


def _page(evaluations: Sequence[Evaluation], last: Evaluation) -> str:
    """The page. last: what the pictures show, and the text where it tells of one version."""
    groups = _by_recipe(evaluations)
    made, calibration = last.manifest, last.manifest["calibration"]
    recipe = _recipe(last)
    heads, rows = table(evaluations)
    return _TEXT.format(
        name=made["model"],
        ink=made["ink_version"],
        sums="\n".join(f"- `{file}`: SHA-256 `{value}`" for file, value in made["data"].items()),
        recipes="\n".join(_method(group[-1]) for group in groups.values()),
        recipe=recipe.name,
        mnist_ood_weight=recipe.mnist_ood_weight,
        styles=sum(map(len, DIGITS.values())),
        pen=ink.FRAME_PEN_PX,
        temperature=calibration["temperature"],
        prior=calibration["prior"],
        threshold=calibration["threshold"],
        rejected=calibration["rejected"],
        max_probability=calibration["max_probability"],
        mixed=list(last.mixtures)[-1],
        min_pair=calibration["min_pair"],
        models="\n".join(map(_made, groups.values())),
        table="\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)),
        sets=", ".join(last.scores),
        threads=made["threads"],
    )


def _method(evaluation: Evaluation) -> str:
    recipe = _recipe(evaluation)
    layers = ", ".join("/".join(map(str, layer)) for layer in recipe.layers)
    text = _RECIPE + _SHARPNESS if recipe.sam_rho else _RECIPE
    return text.format(**{**vars(recipe), "layers": layers, "parameters": evaluation.manifest["parameters"]})


def _made(group: Sequence[Evaluation]) -> str:
    manifests = [evaluation.manifest for evaluation in group]
    last, seeds = manifests[-1], ", ".join(str(made["seed"]) for made in manifests)
    seconds, tensorflow = ", ".join(f"{made['seconds']:.0f}" for made in manifests), last["tensorflow"]
    return (
        f"{len(group)} model(s) of recipe `{last['recipe']}`, seed {seeds}, made in {seconds} s with {last['threads']} threads and "
        f"TensorFlow {tensorflow}."
    )


def _recipe(evaluation: Evaluation) -> Recipe:
    """The recipe in a version's manifest."""
    version, settings = evaluation.version, evaluation.manifest.get("settings")
    wanted = {field.name for field in fields(Recipe)}
    if not isinstance(settings, dict) or set(settings) != wanted:
        found = ", ".join(sorted(settings)) if isinstance(settings, dict) else "no settings"
        raise Refused(
            f"the manifest of version {version}: wanted the settings {', '.join(sorted(wanted))}, found {found}; "
            "`python -m trainer fit` makes a version that has them"
        )
    return Recipe(**settings)
