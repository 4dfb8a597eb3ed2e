/**
 * A drawing is data: strokes [[x, y, t_ms], …] on a square canvas of SIDE x SIDE units, y grows down, t_ms since the drawing's first point.
 * Units do not depend on the window, so a drawing survives resizing, zooming and turning the phone. Every function here is pure.
 */

export const SIDE = 400;
export const PEN = 24; // line width in canvas units: 6 % of the side, the share that the rasteriser expects

const MIN_STEP = 1.5; // points nearer than this to the one before add bytes, not shape

/** A history is what was drawn before, what is drawn now and what was undone: lists of strokes, never changed in place. */
export const BLANK = Object.freeze({ past: [], strokes: [], future: [] });

const became = (history, strokes) => ({ past: [...history.past, history.strokes], strokes, future: [] });

export const add = (history, stroke) => (stroke.length > 0 ? became(history, [...history.strokes, stroke]) : history);

/** Clearing is a step like any other: undo brings the drawing back. */
export const clear = (history) => (history.strokes.length > 0 ? became(history, []) : history);

export const undo = ({ past, strokes, future }) =>
  past.length > 0 ? { past: past.slice(0, -1), strokes: past.at(-1), future: [strokes, ...future] } : { past, strokes, future };

export const redo = ({ past, strokes, future }) =>
  future.length > 0 ? { past: [...past, strokes], strokes: future[0], future: future.slice(1) } : { past, strokes, future };

/** The stroke with one more point, or the same stroke where the pen has hardly moved. */
export function extend(stroke, [x, y, t_ms]) {
  const last = stroke.at(-1);
  if (last && Math.hypot(x - last[0], y - last[1]) < MIN_STEP) return stroke;
  return [...stroke, [near(x), near(y), Math.max(0, Math.round(t_ms))]];
}

/** Where a pointer at client coordinates is on the canvas: rect is the canvas's getBoundingClientRect() at that moment, whatever the zoom. */
export const toCanvas = (clientX, clientY, rect) => [((clientX - rect.left) * SIDE) / rect.width, ((clientY - rect.top) * SIDE) / rect.height];

/** The body of a request for an answer. */
export const toRequest = (strokes) => ({ width: SIDE, height: SIDE, pen: PEN, strokes, frame: true });

/** A tenth of a unit is enough; a captured pointer may wander anywhere, the gateway takes one canvas beyond each edge. */
const near = (value) => Math.round(Math.min(Math.max(value, -SIDE), 2 * SIDE) * 10) / 10;
