/** Ink on a canvas: functions of strokes and 2D contexts, so redrawing after undo, zoom or a change of theme comes free. */

import { PEN, SIDE } from "./strokes.js";
import { getStroke } from "./vendor/perfect-freehand.js";

// A line of one width, as the rasteriser draws it. streamline: how much trembling is smoothed, chosen by looking; `last` ends the line at the pen.
const LINE = { size: PEN, thinning: 0, smoothing: 0.5, streamline: 0.35, last: true };
const PIECE = 160; // points of a long stroke that are outlined at a time
const OVERLAP = 24; // points of one piece that the next one repeats, so that no seam shows; they reach further than the line is wide

/**
 * Draws on `context` and keeps what will not change any more in `layer`, another 2D context, so that a frame costs the same however much was drawn.
 * Returns draw(strokes, active, colour): finished strokes, none of which is ever changed in place, and the one that still grows, or null.
 */
export function createInk(context, layer) {
  let done = []; // { stroke, pieces } of the strokes in the layer: how many of their pieces it holds
  let look = "";

  return function draw(strokes, active, colour) {
    const all = active?.length ? [...strokes, active] : strokes;
    const { width, height } = context.canvas;
    if (look !== `${width} ${height} ${colour}` || done.length > all.length || done.some(({ stroke }, k) => stroke !== all[k])) {
      look = `${width} ${height} ${colour}`;
      done = [];
      layer.canvas.width = width; // clears it
      layer.canvas.height = height;
      prepare(layer, colour);
    }
    all.forEach((stroke, k) => {
      done[k] ??= { stroke, pieces: 0 };
      const settled = stroke === active ? piecesOf(stroke) - 1 : piecesOf(stroke);
      while (done[k].pieces < settled) fillPiece(layer, stroke, done[k].pieces++);
    });
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (all.length > 0) context.drawImage(layer.canvas, 0, 0);
    if (active?.length) {
      prepare(context, colour);
      fillPiece(context, active, piecesOf(active) - 1);
    }
  };
}

/** Draw strokes on a context of any size, whose pixels become canvas units. */
export function drawStrokes(context, strokes, colour) {
  prepare(context, colour);
  for (const stroke of strokes) for (let k = 0; k < piecesOf(stroke); k += 1) fillPiece(context, stroke, k);
}

function prepare(context, colour) {
  context.setTransform(context.canvas.width / SIDE, 0, 0, context.canvas.height / SIDE, 0, 0);
  context.fillStyle = colour;
}

const piecesOf = (stroke) => Math.max(1, Math.ceil((stroke.length - OVERLAP) / (PIECE - OVERLAP)));

/** Fill the outline of the stroke's k-th piece. */
function fillPiece(context, stroke, k) {
  const begin = k * (PIECE - OVERLAP);
  const points = stroke.slice(begin, begin + PIECE);
  context.beginPath();
  if (points.length === 1) context.arc(points[0][0], points[0][1], PEN / 2, 0, 2 * Math.PI);
  else trace(context, getStroke(points.map(([x, y]) => [x, y]), LINE)); // without the times, which it would take for pressure
  context.fill();
}

/** A closed curve that bends at the outline's points and passes halfway between them. */
function trace(context, outline) {
  const middle = ([ax, ay], [bx, by]) => [(ax + bx) / 2, (ay + by) / 2];
  context.moveTo(...middle(outline.at(-1), outline[0]));
  outline.forEach((point, k) => context.quadraticCurveTo(...point, ...middle(point, outline[(k + 1) % outline.length])));
  context.closePath();
}

/** Paint the model's picture, 28 rows of 28 greys (0 paper, 255 ink), one canvas pixel each, in the colour of the ink. */
export function drawFrame(context, frame, colour) {
  const { width, height } = context.canvas;
  context.clearRect(0, 0, width, height);
  context.fillStyle = colour;
  frame.forEach((row, y) =>
    row.forEach((grey, x) => {
      context.globalAlpha = grey / 255;
      context.fillRect(x, y, 1, 1);
    }),
  );
  context.globalAlpha = 1;
}
