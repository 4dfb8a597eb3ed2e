/** The page: holds the drawing, decides what is shown when, and loads what the first stroke does not need once it is needed. */

import { createAnswer } from "./answer.js";
import * as api from "./api.js";
import { createPad } from "./pad.js";
import { PAPER, TRAIL, keep, recall } from "./storage.js";
import { BLANK, add, clear, redo, replace, toRequest, undo } from "./strokes.js";
import { WORDS, describeAnswer, describeDrawing, describePartial, describeProblem, describeWait } from "./words.js";

const SETTLE_MS = 400; // after the pen is up: the next stroke may follow
const SETTLE_NO_DIGIT_MS = 1000; // and longer before it says that there is none, since half a digit is none; arbitrary, people lift the pen for up to a second
const LONG_MS = 2000; // an answer usually takes a tenth of a second
const PARTIAL_MS = 1000; // so long an answer to part of the ink may stand beside more ink

const byId = (id) => document.getElementById(id);
let steps = BLANK; // the drawing and its history
let latest = null; // { answer, took_ms, at_ms }: the newest since the stroke or the drawing began
let isWhole = false; // it is about all the ink that there is
let settled = null; // the answer whose words stand
let problem = null; // { words, retryIn_s, isShown }, until the next answer
let replay = null; // { strokes, stop() }: a drawing that draws itself, and those of its strokes that are finished
let penUpAt_ms = -Infinity;
let changedAt_ms = 0;
let timer = null;
let style = null; // a promise of later.css

const reader = api.createReader({
  predict: (strokes, flight) => api.predict(toRequest(strokes), flight), // made when it is sent, not at each move of the pen
  findVersions: api.findVersions,
  onReady() {
    problem = null;
    view.showStatus("ready", WORDS.ready);
    update();
  },
  onAnswer(answer, { took_ms, isLatest }) {
    problem = null;
    latest = { answer, took_ms, at_ms: performance.now() };
    isWhole = isLatest;
    if (answer.model.version === null) {
      view.clearEvidence(); // too little ink is seen without a model
    } else {
      view.showEvidence(answer, took_ms);
      view.showStatus("ready", WORDS.ready);
    }
    update();
  },
  onProblem(error, retryIn_s) {
    problem = { words: describeProblem(error), retryIn_s, isShown: false };
    latest = null;
    if (problem.words.status) view.showStatus(problem.words.kind, problem.words.status);
    view.clearEvidence();
    update();
  },
});
reader.start(); // first: what it asks is answered while the rest of the page is made

const isDrawing = () => pad.drawing() || replay !== null;
const view = createAnswer({ isDrawing });
const shareButtons = [byId("copy-link"), byId("copy-picture")];

const pad = createPad(byId("pad"), {
  strokes: () => replay?.strokes ?? steps.strokes,
  onStart() {
    loadStyle();
    stopReplay();
    leaveLink();
    latest = null;
    inkChanged();
  },
  onMove(stroke) {
    inkChanged();
    reader.read([...steps.strokes, stroke]);
  },
  onEnd(stroke) {
    penUpAt_ms = performance.now();
    change(add(steps, stroke));
  },
});

/** The drawing became another: show it, keep it and ask what it is. */
function change(next) {
  steps = next;
  const count = steps.strokes.length;
  byId("pad").setAttribute("aria-label", describeDrawing(count));
  byId("undo").setAttribute("aria-disabled", steps.past.length === 0);
  byId("redo").setAttribute("aria-disabled", steps.future.length === 0);
  byId("clear").setAttribute("aria-disabled", count === 0);
  keep("sessionStorage", PAPER, count > 0 ? steps.strokes : null);
  pad.redraw();
  inkChanged();
  if (count > 0) reader.read(steps.strokes, { final: true });
  else reader.forget();
}

/** No answer is about this ink. */
function inkChanged() {
  isWhole = false;
  settled = null;
  for (const button of shareButtons) button.setAttribute("aria-disabled", true);
  changedAt_ms = performance.now();
  if (problem && reader.ready()) problem = null; // it was about the drawing before
  update();
}

/** Show what is true now, and look again when time alone will change that. */
function update() {
  clearTimeout(timer);
  const now_ms = performance.now();
  const lookAgain = (at_ms) => (timer = setTimeout(update, Math.max(0, at_ms - now_ms)));
  const isBlank = steps.strokes.length === 0 && !isDrawing();
  const isFresh = latest !== null && (isWhole || now_ms < latest.at_ms + PARTIAL_MS);
  const settlesAt_ms = penUpAt_ms + (isWhole && latest.answer.digit === null ? SETTLE_NO_DIGIT_MS : SETTLE_MS);
  byId("hint").hidden = !isBlank;
  if (problem) return showProblem();
  if (isBlank) return showBlank();
  if (isWhole && !isDrawing() && now_ms >= settlesAt_ms) return settle();
  if (isDrawing() || (isFresh && now_ms < settlesAt_ms)) {
    if (isFresh && !isDrawing()) lookAgain(settlesAt_ms);
    else if (isFresh && !isWhole) lookAgain(latest.at_ms + PARTIAL_MS);
    view.showWords(describePartial(isFresh ? latest.answer : null));
    return;
  }
  if (now_ms < changedAt_ms + LONG_MS) lookAgain(changedAt_ms + LONG_MS);
  view.showWords(describeWait(now_ms >= changedAt_ms + LONG_MS));
}

function showProblem() {
  if (problem.isShown) return;
  problem.isShown = true;
  const { words, retryIn_s } = problem;
  view.showWords({ big: "", spoken: `${words.title}. ${words.note}`, ...words });
  view.showRetry(retryIn_s, words.kind !== "refused");
}

function showBlank() {
  view.clearEvidence();
  view.showWords({ kind: "blank", big: "", title: "", note: "" });
}

function settle() {
  if (settled === latest.answer) return;
  settled = latest.answer;
  view.showWords(describeAnswer(settled));
  for (const button of shareButtons) button.setAttribute("aria-disabled", false);
  if (settled.model.version === null) return;
  const [strokes, answer] = [steps.strokes, settled];
  openTrail().then((trail) => trail?.add(strokes, answer));
  load("proof").then((proof) => proof?.showProof(answer, () => settled === answer));
}

/** Draw these strokes at their own speed, as one step; at once for who wants less motion. */
async function play(strokes) {
  stopReplay();
  latest = null;
  const { createReplay } = (await load("replay")) ?? {};
  if (!createReplay || matchMedia("(prefers-reduced-motion: reduce)").matches) return change(replace(steps, strokes));
  replay = createReplay(strokes, {
    onGrow(growing) {
      pad.show(growing);
      inkChanged();
      reader.read([...replay.strokes, growing]);
    },
    onEnd(drawn) {
      replay = null;
      pad.show(null);
      penUpAt_ms = performance.now();
      change(replace(steps, drawn));
    },
  });
}

function stopReplay() {
  replay?.stop();
}

/** The address names a drawing only as long as it is the one on the paper. */
function leaveLink() {
  if (location.hash) history.replaceState(null, "", location.pathname + location.search);
}

const tools = {
  undo: { run: () => change(undo(steps)), keys: "Control+Z Meta+Z", shown: ["Ctrl+Z", "⌘Z"] },
  redo: { run: () => change(redo(steps)), keys: "Control+Shift+Z Meta+Shift+Z", shown: ["Ctrl+Shift+Z", "⇧⌘Z"] },
  clear: { run: () => change(clear(steps)), keys: "Escape Delete", shown: ["Esc", "Esc"] },
};
const isApple = /Mac|iPhone|iPad/.test(navigator.platform);

function use(name) {
  stopReplay();
  if (pad.drawing()) return name === "clear" && pad.end(); // Esc ends a stroke whose end the browser did not report
  if (byId(name).getAttribute("aria-disabled") === "true") return;
  latest = null;
  penUpAt_ms = -Infinity;
  leaveLink();
  tools[name].run();
}

for (const [name, { keys, shown }] of Object.entries(tools)) {
  byId(name).addEventListener("click", () => use(name));
  byId(name).setAttribute("aria-keyshortcuts", keys);
  byId(name).querySelector(".tip").textContent = shown[isApple ? 1 : 0];
}

addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]")) return;
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (command && !event.altKey && key === "z") use(event.shiftKey ? "redo" : "undo");
  else if (event.ctrlKey && !event.altKey && key === "y") use("redo");
  else if (!command && !event.altKey && ["escape", "delete", "backspace"].includes(key)) use("clear");
  else return;
  event.preventDefault();
});

byId("again").addEventListener("click", () => reader.retryNow(steps.strokes.length > 0 ? steps.strokes : null));
addEventListener("online", () => reader.retryNow());

/** A module that is not there from the start, and its style; null, with a sentence on the page, where it does not load. */
async function load(name) {
  try {
    await loadStyle();
    return await import(`./${name}.js`);
  } catch {
    byId("notice").textContent = WORDS.partMissing;
    return null;
  }
}

function loadStyle() {
  style ??= new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: new URL("./later.css", import.meta.url), onload: resolve, onerror: reject });
    document.head.append(link);
  });
  style.catch(() => (style = null));
  return style;
}

let trail = null;
async function openTrail() {
  trail ??= (await load("trail"))?.createTrail({ show: (strokes) => (leaveLink(), play(strokes)), predict: api.predict });
  return trail;
}

for (const chip of document.querySelectorAll("[data-example]")) {
  chip.addEventListener("click", async () => {
    const examples = await load("examples");
    if (examples) play(examples.EXAMPLES[chip.dataset.example]);
  });
}

for (const button of shareButtons) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    const [strokes, answer] = [steps.strokes, settled];
    const share = await load("share");
    if (share) byId("notice").textContent = await (button.id === "copy-link" ? share.copyLink(strokes) : share.copyPicture(strokes, answer));
  });
}

/** The drawing in the address is replayed, else the one of before the page was left is there again. */
async function openFirst() {
  if (location.hash.startsWith("#d=")) {
    const link = await load("link");
    const strokes = link?.decode(location.hash.slice(3));
    if (strokes) return play(strokes);
    if (link) byId("notice").textContent = WORDS.badLink;
  }
  const strokes = recall("sessionStorage", PAPER);
  if (strokes) change({ ...BLANK, strokes });
}

byId("pad").setAttribute("aria-label", describeDrawing(0));
addEventListener("hashchange", openFirst);
openFirst();
if (recall("localStorage", TRAIL)) openTrail();
document.documentElement.dataset.loaded = ""; // else a sentence says that the page did not load
