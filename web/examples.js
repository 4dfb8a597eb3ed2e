/** Drawings to watch, drawn by the page as a pen would: strokes [[x, y, t_ms], …] on the canvas of strokes.js. */

const STEP_MS = 12; // between two points, as a screen of 80 Hz reports them
const REST_MS = 220; // the pen is up between two strokes

/** Strokes through corner points, `perPart` points from one to the next; rounded ones follow a Catmull-Rom curve. */
function pen(strokes, perPart, isRound) {
  let t_ms = 0;
  return strokes.map((corners) => {
    const drawn = [];
    const at = (k) => corners[Math.min(Math.max(k, 0), corners.length - 1)];
    for (let k = 0; k < corners.length - 1; k += 1) {
      for (let step = 0; step < perPart; step += 1) drawn.push(between(at(k - 1), at(k), at(k + 1), at(k + 2), step / perPart, isRound));
    }
    drawn.push(corners.at(-1));
    const stroke = drawn.map(([x, y], k) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10, t_ms + k * STEP_MS]);
    t_ms = stroke.at(-1)[2] + REST_MS;
    return stroke;
  });
}

const between = (a, b, c, d, share, isRound) =>
  [0, 1].map((k) => {
    if (!isRound) return b[k] + (c[k] - b[k]) * share;
    const [p, q, r] = [c[k] - a[k], 2 * a[k] - 5 * b[k] + 4 * c[k] - d[k], 3 * b[k] - a[k] - 3 * c[k] + d[k]];
    return b[k] + 0.5 * share * (p + share * (q + share * r));
  });

export const EXAMPLES = {
  seven: pen([[[118, 104], [150, 97], [195, 99], [242, 96], [282, 91], [274, 124], [246, 180], [219, 238], [203, 284], [192, 330]]], 6, true),
  either: pen([[[184, 84], [165, 98], [142, 130], [138, 162], [155, 186], [192, 190], [232, 176], [258, 150]], [[262, 84], [259, 140], [254, 200], [247, 262], [240, 322]]], 6, true),
  none: pen([[[112, 322], [200, 74], [288, 322], [68, 168], [332, 168], [112, 322]]], 16, false),
};
