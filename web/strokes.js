/**
 * A drawing is data: strokes [[x, y, t_ms], …] on a square canvas of SIDE x SIDE units, y grows down, t_ms since the drawing's first point.
 * Units do not depend on the window, so a drawing survives resizing, zooming and turning the phone. Every function here is pure.
 */

export const SIDE = 400;
export const PEN = 24; // line width in canvas units: 6 % of the side, the share that the rasteriser expects

const MIN_STEP = 1.5; // points nearer than this to the one before add bytes, not shape
const MOST_POINTS = 2_000; // of a request; a digit has 30 to 200, the gateway refuses more than 20,000
const MOST_STROKES = 1_000; // the gateway refuses more

/** A history is what was drawn before, what is drawn now and what was undone: lists of strokes, never changed in place. */
export const BLANK = Object.freeze({ past: [], strokes: [], future: [] });

/** Another drawing in place of this one, as a step that undo takes back. */
export const replace = (history, strokes) => ({ past: [...history.past, history.strokes], strokes, future: [] });

export const add = (history, stroke) => (stroke.length > 0 ? replace(history, [...history.strokes, stroke]) : history);

/** Clearing is a step like any other: undo brings the drawing back. */
export const clear = (history) => (history.strokes.length > 0 ? replace(history, []) : history);

export const undo = ({ past, strokes, future }) =>
  past.length > 0 ? { past: past.slice(0, -1), strokes: past.at(-1), future: [strokes, ...future] } : { past, strokes, future };

export const redo = ({ past, strokes, future }) =>
  future.length > 0 ? { past: [...past, strokes], strokes: future[0], future: future.slice(1) } : { past, strokes, future };

/** A point at (x, y) as it is kept behind `last`, the stroke's last point if it has one; null where the pen has hardly moved. */
export function nextPoint(last, [x, y, t_ms]) {
  if (last && Math.hypot(x - last[0], y - last[1]) < MIN_STEP) return null;
  return [near(x), near(y), Math.max(0, Math.round(t_ms))];
}

/** Where a pointer at client coordinates is on the canvas: rect is the canvas's getBoundingClientRect() at that moment, whatever the zoom. */
export const toCanvas = (clientX, clientY, rect) => [((clientX - rect.left) * SIDE) / rect.width, ((clientY - rect.top) * SIDE) / rect.height];

/** The body of a request for an answer. An endless scribble is thinned to what a request may hold. */
export const toRequest = (strokes) => ({ width: SIDE, height: SIDE, pen: PEN, strokes: thinned(strokes), frame: true });

/** The same strokes with at most so many points: where there are more, points near the one before are left out, further and further. */
export function thinned(strokes, mostPoints = MOST_POINTS) {
  let kept = strokes.length > MOST_STROKES ? longest(strokes, MOST_STROKES) : strokes;
  for (let step = 2 * MIN_STEP; countPoints(kept) > Math.max(mostPoints, 2 * kept.length); step *= 1.5) {
    kept = kept.map((stroke) => withStep(stroke, step));
  }
  return kept;
}

export const countPoints = (strokes) => strokes.reduce((sum, stroke) => sum + stroke.length, 0);

/** How long the drawing took, ms. */
export const duration_ms = (strokes) => Math.max(0, ...strokes.map((stroke) => stroke.at(-1)[2]));

function longest(strokes, count) {
  const least = strokes.map(({ length }) => length).sort((a, b) => b - a)[count - 1];
  let room = count - strokes.filter(({ length }) => length > least).length; // for those that are just as long as the least
  return strokes.filter(({ length }) => length > least || (length === least && room-- > 0));
}

/** The stroke's first and last point, and of those between the ones at least `step` from the last one kept. */
function withStep(stroke, step) {
  let last = stroke[0];
  return stroke.filter((point, k) => {
    const keep = k === 0 || k === stroke.length - 1 || Math.hypot(point[0] - last[0], point[1] - last[1]) >= step;
    if (keep) last = point;
    return keep;
  });
}

/** A tenth of a unit is enough; a captured pointer may wander anywhere, the gateway takes one canvas beyond each edge. */
const near = (value) => Math.round(Math.min(Math.max(value, -SIDE), 2 * SIDE) * 10) / 10;
