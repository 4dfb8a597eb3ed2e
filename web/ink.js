/** Ink on a canvas: pure functions of strokes and a 2D context, so redrawing after undo, zoom or a change of theme comes free. */

import { PEN, SIDE } from "./strokes.js";

/** Draw all strokes anew; the canvas may have any number of pixels, the strokes are in canvas units. */
export function drawInk(context, strokes, colour) {
  const { width, height } = context.canvas;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  context.setTransform(width / SIDE, 0, 0, height / SIDE, 0, 0);
  context.lineWidth = PEN;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = colour;
  for (const stroke of strokes) drawStroke(context, stroke);
}

/** A smooth line that bends at the points and passes halfway between them; its two ends lie exactly where the pen was. */
function drawStroke(context, stroke) {
  const [[x0, y0]] = stroke;
  const [xn, yn] = stroke.at(-1);
  context.beginPath();
  if (stroke.length === 1) {
    context.arc(x0, y0, PEN / 2, 0, 2 * Math.PI); // browsers draw nothing for a line of no length
    context.fill();
    return;
  }
  context.moveTo(x0, y0);
  for (let k = 1; k < stroke.length - 1; k += 1) {
    const [x, y] = stroke[k];
    const [nextX, nextY] = stroke[k + 1];
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  context.lineTo(xn, yn);
  context.stroke();
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
