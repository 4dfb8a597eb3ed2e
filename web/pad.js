/**
 * The pad: pointer events in, strokes out. Mouse (left button), pen and finger draw; the canvas's sharpness follows the screen.
 *
 * Palms: only the first finger draws, and while a pen is in use no finger does; a finger's ink that turns out to be the hand of the pen's
 * owner is taken back.
 */

import { drawInk } from "./ink.js";
import { extend, toCanvas } from "./strokes.js";

const PEN_RULES_MS = 1500; // so long after a pen's last event a touch is the hand that holds it; arbitrary, longer than lifting for the next stroke

/**
 * canvas: the element to draw on. strokes(): the finished strokes. onMove(stroke): the stroke so far. onEnd(stroke): it is finished;
 * an empty stroke was taken back. Returns { redraw, drawing }.
 */
export function createPad(canvas, { strokes, onMove, onEnd }) {
  const context = canvas.getContext("2d");
  let stroke = null; // the one being drawn
  let pointer = null; // { id, type } that draws it
  let startedAt_ms = 0; // of the drawing's first point
  let penSeenAt_ms = -Infinity;
  let scheduled = false;

  function redraw() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      fitToScreen();
      drawInk(context, stroke?.length ? [...strokes(), stroke] : strokes(), getComputedStyle(canvas).color);
    });
  }

  /** As many canvas pixels as the screen shows, so ink is sharp at every zoom. */
  function fitToScreen() {
    const rect = canvas.getBoundingClientRect();
    const side_px = Math.max(1, Math.round(rect.width * devicePixelRatio));
    if (canvas.width !== side_px) canvas.width = canvas.height = side_px;
  }

  function extendBy(event) {
    const rect = canvas.getBoundingClientRect();
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length > 0 ? events : [event]) {
      stroke = extend(stroke, [...toCanvas(each.clientX, each.clientY, rect), each.timeStamp - startedAt_ms]);
    }
    onMove(stroke);
    redraw();
  }

  function finish(kept) {
    const finished = kept ? stroke : [];
    stroke = pointer = null;
    redraw();
    onEnd(finished);
  }

  const isPalm = (event) => event.pointerType === "touch" && event.timeStamp - penSeenAt_ms < PEN_RULES_MS;
  const isOurs = (event) => pointer !== null && event.pointerId === pointer.id;

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0 || isPalm(event)) return;
    if (event.pointerType === "pen" && pointer?.type === "touch") finish(false); // the palm came down first
    if (pointer !== null) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    pointer = { id: event.pointerId, type: event.pointerType };
    if (strokes().length === 0) startedAt_ms = event.timeStamp;
    stroke = [];
    extendBy(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (isOurs(event)) extendBy(event);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!isOurs(event)) return;
    extendBy(event);
    finish(true);
  });
  canvas.addEventListener("pointercancel", (event) => {
    if (isOurs(event)) finish(!isPalm(event)); // a system gesture leaves the ink, a palm does not
  });
  canvas.addEventListener("lostpointercapture", (event) => {
    if (isOurs(event)) finish(true); // no pointerup came: the window lost the pointer
  });
  canvas.addEventListener("contextmenu", (event) => {
    if (pointer !== null) event.preventDefault(); // a finger that rests is still drawing
  });
  for (const type of ["pointerdown", "pointermove", "pointerup"]) {
    addEventListener(type, (event) => {
      if (event.pointerType === "pen") penSeenAt_ms = event.timeStamp;
    });
  }

  new ResizeObserver(redraw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  (function watchZoom() {
    // The one signal that every browser gives when only the pixel ratio changes (another screen, a zoom that keeps the canvas's CSS size).
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", () => (redraw(), watchZoom()), { once: true });
  })();

  return { redraw, drawing: () => stroke !== null };
}
