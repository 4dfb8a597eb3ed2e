"""A drawing to an answer: what the gateway does, without HTTP (routes.py does that) and without gRPC (serving.py does that).

A drawing with too little ink is answered without the model. Any other drawing becomes a frame (`pynumdraw.ink`), the model predicts
for that frame, and its prediction says what the answer is: every rule is the model's own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gateway.drawing import Drawing
from gateway.reply import Prediction
from gateway.serving import Predictor

DECIMALS = 6  # of the probabilities in an answer; arbitrary, float32 near 1 has seven


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a drawing; the fields of `to_json` are described in openapi.json.

    version: the version of the model that predicted, None where no model did. frame: uint8[28, 28], the model's input, all 0 where
    there was none.
    """

    digit: int | None
    is_digit: bool
    is_digit_probability: float
    confidence: float | None
    probabilities: list[float]
    reason: str | None
    candidates: list[int]
    version: int | None
    frame: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """The fields that stand in the API's answer; version and frame are put in by the caller."""
        return {
            "digit": self.digit,
            "is_digit": self.is_digit,
            "is_digit_probability": self.is_digit_probability,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
            "reason": self.reason,
            "candidates": self.candidates,
        }


Run = Callable[[Callable[[], Any]], Any]


def run_here(work: Callable[[], Any]) -> Any:
    """Do slow work at once, in this thread."""
    return work()


def recognise(drawing: Drawing, predictor: Predictor, run_slow: Run = run_here) -> Answer:
    """The answer to a drawing. run_slow: calls what takes milliseconds. Raises GatewayError where the predictor or `run_slow` fails."""
    problem, frame = _inspect(drawing, run_slow)
    if problem is not None:
        return no_ink_answer(problem)
    (prediction,) = predictor.predict(frame[None])  # (1, 28, 28)
    return answer_from_prediction(prediction, frame)


def recognise_always(drawing: Drawing, predictor: Predictor, run_slow: Run = run_here) -> tuple[int, Answer]:
    """The likeliest digit and the answer, for the original demo, which names a digit even for a blank canvas.

    The model predicts in any case, so the answer always has a version. Raises as `recognise` does.
    """
    problem, frame = _inspect(drawing, run_slow)
    (prediction,) = predictor.predict(frame[None])  # (1, 28, 28)
    answer = answer_from_prediction(prediction, frame) if problem is None else replace(no_ink_answer(problem), version=prediction.version)
    return prediction.digit, answer


def _inspect(drawing: Drawing, run_slow: Run) -> tuple[str | None, np.ndarray]:
    """(what is wrong with the ink if anything, uint8[28, 28])."""

    def inspect() -> tuple[str | None, np.ndarray]:
        return drawing.ink_problem(), drawing.frame()

    return run_slow(inspect) if drawing.is_slow else inspect()


def no_ink_answer(problem: str) -> Answer:
    """The answer to a drawing that is "blank" or "faint"."""
    return Answer(
        digit=None,
        is_digit=False,
        is_digit_probability=0.0,
        confidence=None,
        probabilities=[0.0] * 10,
        reason=problem,
        candidates=[],
        version=None,
        frame=np.zeros((28, 28), np.uint8),
    )


def answer_from_prediction(prediction: Prediction, frame: np.ndarray) -> Answer:
    """The answer that a prediction gives: a digit, a digit that may be another one (ambiguous), or no digit."""
    digit, is_digit, is_ambiguous = prediction.digit, prediction.accepted, prediction.accepted and prediction.ambiguous
    return Answer(
        digit=digit if is_digit else None,
        is_digit=is_digit,
        is_digit_probability=round(prediction.is_digit_probability, DECIMALS),
        confidence=round(prediction.confidence, DECIMALS) if is_digit else None,
        probabilities=[round(probability, DECIMALS) for probability in prediction.probabilities],
        reason="ambiguous" if is_ambiguous else None if is_digit else "not_a_digit",
        candidates=[digit, prediction.runner_up] if is_ambiguous else [digit] if is_digit else [],
        version=prediction.version,
        frame=frame,
    )
