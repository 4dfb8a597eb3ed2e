/** The page: holds the drawing's history and puts pad, reader, bars and words together. */

import * as api from "./api.js";
import { createBars } from "./bars.js";
import { drawFrame } from "./ink.js";
import { createPad } from "./pad.js";
import { BLANK, add, clear, redo, toRequest, undo } from "./strokes.js";
import { sayAnswer, sayModel, sayTime, sayTrouble } from "./words.js";

const TROUBLES = { waiting: "model not ready", offline: "no connection", busy: "busy", broken: "server error" };
const SETTLED_MS = 700; // a screen reader hears an answer once the pen is up and it has stood so long

const byId = (id) => document.getElementById(id);
const bars = createBars(byId("bars"));
const frame = byId("frame").getContext("2d");
let history = BLANK;
let seen = null; // the frame of the answer that is shown
let speech = null;
let countdown = null;

const pad = createPad(byId("pad"), {
  strokes: () => history.strokes,
  onMove(stroke) {
    byId("hint").hidden = true;
    reader.read(toRequest([...history.strokes, stroke]));
  },
  onEnd: (stroke) => change(add(history, stroke)),
});

const reader = api.createReader({
  predict: api.predict,
  served: api.served,
  onReady({ name, versions }) {
    showStatus("ready", sayModel(name, versions));
    if (history.strokes.length === 0) rest();
  },
  onAnswer(answer, { took_ms }) {
    if (answer.digit === null && pad.drawing()) showWords({ kind: "drawing", big: "…", title: "", note: "" }); // no verdict on half a digit
    else showWords(sayAnswer(answer));
    const { name, version } = answer.model;
    if (version === null) return showNoModel(); // too little ink is seen without asking a model
    bars.show(answer);
    showFrame(answer.frame ?? null);
    showStatus("ready", sayModel(name, [version]));
    byId("facts").hidden = false;
    byId("model").textContent = sayModel(name, [version]);
    byId("took").textContent = sayTime(took_ms);
  },
  onTrouble(error, retryIn_s) {
    const words = sayTrouble(error);
    if (words.kind !== "refused") showStatus(words.kind, TROUBLES[words.kind]);
    showNoModel();
    showWords({ big: "", spoken: `${words.title}. ${words.note}`, ...words });
    showRetry(retryIn_s, words.kind !== "refused");
  },
});

/** The drawing became another: show it and ask what it is. */
function change(next) {
  history = next;
  const count = history.strokes.length;
  byId("hint").hidden = count > 0;
  byId("pad").setAttribute("aria-label", `Your drawing: ${count === 0 ? "empty" : count === 1 ? "1 stroke" : `${count} strokes`}`);
  byId("undo").setAttribute("aria-disabled", history.past.length === 0);
  byId("redo").setAttribute("aria-disabled", history.future.length === 0);
  byId("clear").setAttribute("aria-disabled", count === 0);
  pad.redraw();
  if (count > 0) {
    reader.read(toRequest(history.strokes), { final: true });
  } else {
    reader.forget();
    if (reader.ready()) rest();
  }
}

/** There is nothing to answer. */
function rest() {
  showWords({ kind: "blank", big: "", title: "", note: "The answer appears here as you draw." });
  showNoModel();
}

function showNoModel() {
  bars.rest();
  showFrame(null);
  byId("facts").hidden = true;
}

function showWords({ kind, big, title, note, spoken = "" }) {
  byId("reading").dataset.kind = kind;
  byId("big").textContent = big;
  byId("title").textContent = title;
  byId("note").textContent = note;
  byId("bars-title").textContent = kind === "not_a_digit" ? "If it were a digit" : "How likely each digit is";
  showRetry(null, false);
  clearTimeout(speech);
  speech = setTimeout(() => {
    if (!pad.drawing() && byId("spoken").textContent !== spoken) byId("spoken").textContent = spoken;
  }, SETTLED_MS);
}

/** A button to try at once, with the seconds until the page tries by itself. */
function showRetry(retryIn_s, shown) {
  clearInterval(countdown);
  byId("retry").hidden = !shown;
  byId("when").textContent = "";
  if (retryIn_s === null) return;
  const due_ms = performance.now() + retryIn_s * 1000;
  const tick = () => {
    const left_s = Math.ceil((due_ms - performance.now()) / 1000);
    byId("when").textContent = left_s > 0 ? `or by itself in ${left_s}\u202fs` : "trying …";
  };
  tick();
  countdown = setInterval(tick, 250);
}

function showFrame(rows) {
  seen = rows;
  drawFrame(frame, rows ?? [], getComputedStyle(frame.canvas).color);
  frame.canvas.setAttribute("aria-label", rows ? "Your drawing as 28 by 28 grey pixels" : "Nothing yet");
}

function showStatus(state, text) {
  byId("status").dataset.state = state;
  byId("status").textContent = text;
}

const tools = {
  undo: { run: () => change(undo(history)), keys: "Control+Z Meta+Z", shown: ["Ctrl+Z", "⌘Z"] },
  redo: { run: () => change(redo(history)), keys: "Control+Shift+Z Meta+Shift+Z", shown: ["Ctrl+Shift+Z", "⇧⌘Z"] },
  clear: { run: () => change(clear(history)), keys: "Escape Delete", shown: ["Esc", "Esc"] },
};
const isApple = /Mac|iPhone|iPad/.test(navigator.platform);

function use(name) {
  if (!pad.drawing() && byId(name).getAttribute("aria-disabled") !== "true") tools[name].run();
}

for (const [name, { keys, shown }] of Object.entries(tools)) {
  byId(name).addEventListener("click", () => use(name));
  byId(name).setAttribute("aria-keyshortcuts", keys);
  byId(name).dataset.tip = shown[isApple ? 1 : 0];
}

addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (command && !event.altKey && key === "z") use(event.shiftKey ? "redo" : "undo");
  else if (event.ctrlKey && !event.altKey && key === "y") use("redo");
  else if (!command && !event.altKey && ["escape", "delete", "backspace"].includes(key)) use("clear");
  else return;
  event.preventDefault();
});

byId("again").addEventListener("click", () => reader.retryNow(history.strokes.length > 0 ? toRequest(history.strokes) : null));
addEventListener("online", () => reader.retryNow());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showFrame(seen));

reader.start();
