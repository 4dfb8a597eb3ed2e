/**
 * The pad: pointer events in, strokes out. Mouse (left button), pen and finger draw; the canvas's sharpness follows the screen.
 *
 * One pointer draws at a time. Fingers elsewhere on the screen do not matter. While a pen is in use no finger draws, and a finger's ink that turns
 * out to be the palm beside a pen is taken back. A stroke whose end the browser never reports ends with the next event that proves it.
 */

import { createInk } from "./ink.js";
import { duration_ms, nextPoint, toCanvas } from "./strokes.js";

const LONGEST_PAUSE_MS = 1000; // between two strokes, as it is kept: a replay should not wait for who thought for a minute
const PEN_RULES_MS = 1500; // so long after the last event of a pen a touch is the palm beside it; arbitrary, longer than lifting for the next stroke

/**
 * canvas: the element to draw on. strokes(): the finished strokes. onStart(): a stroke is about to begin. onMove(stroke): the stroke so far has a new point.
 * onEnd(stroke): it is finished; an empty stroke was taken back. Returns { redraw, drawing, end, show }.
 */
export function createPad(canvas, { strokes, onStart, onMove, onEnd }) {
  const draw = createInk(canvas.getContext("2d"), document.createElement("canvas").getContext("2d"));
  let stroke = null; // the one being drawn
  let pointer = null; // { id, type } that draws it
  let startedAt_ms = 0; // of the first point of the drawing
  let penSeenAt_ms = -Infinity;
  let scheduled = false;
  let inkIsNew = false; // ink of the pen was drawn since the last frame

  /** Draw with the next frame. */
  function redraw() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      paint();
    });
  }

  /** Draw what the pen added: the first of a frame at once, the rest with the next frame, so a mouse of 1,000 Hz costs two drawings a frame. */
  function followPen() {
    if (inkIsNew) return redraw();
    inkIsNew = true;
    requestAnimationFrame(() => (inkIsNew = false));
    paint();
  }

  function paint() {
    fitToScreen();
    draw(strokes(), stroke, getComputedStyle(canvas).color);
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
    let moved = false;
    for (const each of events.length > 0 ? events : [event]) {
      const point = nextPoint(stroke.at(-1), [...toCanvas(each.clientX, each.clientY, rect), each.timeStamp - startedAt_ms]);
      if (point) moved = stroke.push(point) > 0;
    }
    if (!moved) return; // a pen that trembles on the spot has nothing new
    followPen(); // before the rest of the page hears of it
    onMove(stroke);
  }

  function begin(event) {
    onStart(); // first: it may end what draws by itself
    canvas.setPointerCapture(event.pointerId);
    pointer = { id: event.pointerId, type: event.pointerType };
    const pause_ms = Math.min(Math.max(0, event.timeStamp - startedAt_ms - duration_ms(strokes())), LONGEST_PAUSE_MS);
    startedAt_ms = event.timeStamp - (strokes().length === 0 ? 0 : duration_ms(strokes()) + pause_ms);
    stroke = [];
    extendBy(event);
  }

  function finish(kept) {
    const finished = kept ? stroke : [];
    stroke = pointer = null;
    redraw();
    onEnd(finished);
  }

  const isPalm = (event) => event.pointerType === "touch" && event.timeStamp - penSeenAt_ms < PEN_RULES_MS;
  const isOurs = (event) => pointer !== null && event.pointerId === pointer.id;
  /** Whether a pointer that comes down proves that ours is up: the same one, another kind, or the only one of its kind on the screen. */
  const provesOursIsUp = (event) => event.pointerId === pointer.id || event.pointerType !== pointer.type || event.isPrimary;

  addEventListener(
    "pointerdown", // before the pad and the buttons hear of it
    (event) => {
      if (pointer === null || isPalm(event)) return;
      if (event.pointerType === "pen" && pointer.type === "touch") finish(false); // the palm came down first
      else if (provesOursIsUp(event)) finish(true);
    },
    { capture: true },
  );
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0 || isPalm(event)) return;
    event.preventDefault();
    begin(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!isOurs(event)) return;
    if (event.buttons === 0) finish(true);
    else extendBy(event);
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

  return {
    redraw,
    drawing: () => pointer !== null,
    /** End the stroke here, its ink kept. */
    end: () => pointer !== null && finish(true),
    /** Show a stroke that grows by itself, as a replay does; null for none. */
    show(growing) {
      stroke = growing;
      redraw();
    },
  };
}
