/** The answer on the page: its words, the gauge "A digit?", ten bars and the picture that the model saw. It only shows; app.js decides what and when. */

import { drawFrame } from "./ink.js";
import { WORDS, describeFacts, describeRetry, percent } from "./words.js";

const TINY = 0.005; // a share too small to see as a bar
const SETTLED_MS = 700; // a screen reader hears an answer once the pen is up and it has stood so long

const byId = (id) => document.getElementById(id);

/** isDrawing(): whether the pen is down. Returns { showWords, showEvidence, clearEvidence, showStatus, showRetry }. */
export function createAnswer({ isDrawing }) {
  const reading = byId("reading");
  const frame = byId("frame").getContext("2d");
  const gauge = createMeter(byId("gauge"));
  byId("bars").innerHTML = Array.from({ length: 10 }, (_, digit) => barHtml(digit)).join("");
  const bars = [...byId("bars").children].map(createMeter);
  let rows = null; // of the frame that is shown
  let speech = null;
  let countdown = null;

  function showFrame(next) {
    rows = next;
    drawFrame(frame, rows ?? [], getComputedStyle(frame.canvas).color);
    frame.canvas.setAttribute("aria-label", rows ? WORDS.frame : WORDS.noFrame);
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showFrame(rows));
  frame.canvas.setAttribute("aria-label", WORDS.noFrame);

  const view = {
    /** kind: the state, which colours follow; big null keeps the digit that stands there. */
    showWords({ kind, big, title, note, spoken = "" }) {
      reading.dataset.kind = kind;
      if (big !== null) {
        setText("big", big);
        reading.classList.toggle("is-either", big.length > 2);
      }
      setText("title", title);
      setText("note", note);
      byId("proof").hidden = true;
      view.showRetry(null, false);
      clearTimeout(speech);
      speech = setTimeout(() => isDrawing() || setText("spoken", spoken), SETTLED_MS);
    },
    /** What stands behind the words, of an answer that a model gave. */
    showEvidence({ is_digit_probability, probabilities, candidates, frame: next, model }, took_ms) {
      gauge(is_digit_probability, candidates.length > 0);
      bars.forEach((set, digit) => set(probabilities[digit], candidates.includes(digit)));
      showFrame(next ?? null);
      byId("facts").hidden = false;
      setText("facts", describeFacts(model, took_ms));
    },
    clearEvidence() {
      for (const set of [gauge, ...bars]) set(null, false);
      showFrame(null);
      byId("facts").hidden = true;
    },
    showStatus(state, text) {
      byId("status").dataset.state = state;
      setText("status", text);
    },
    /** A button to try at once, with the time until the page tries by itself. */
    showRetry(retryIn_s, isShown) {
      clearInterval(countdown);
      byId("retry").hidden = !isShown;
      setText("when", "");
      if (retryIn_s === null) return;
      const due_ms = performance.now() + retryIn_s * 1000;
      const on_ms = Date.now() + retryIn_s * 1000;
      const tick = () => setText("when", describeRetry(Math.ceil((due_ms - performance.now()) / 1000), on_ms));
      tick();
      countdown = setInterval(tick, 250);
    },
  };
  return view;
}

function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

/** A function (share, isChosen) that sets the meter in `holder`; a share of null is no answer. */
function createMeter(holder) {
  const meter = holder.querySelector("[role=meter]");
  const label = holder.querySelector(".percent");
  return (share, isChosen) => {
    holder.classList.toggle("is-chosen", isChosen);
    holder.classList.toggle("is-tiny", share !== null && share < TINY);
    holder.style.setProperty("--share", share ?? 0);
    meter.setAttribute("aria-valuenow", Math.round((share ?? 0) * 100));
    meter.setAttribute("aria-valuetext", share === null ? WORDS.noAnswer : percent(share));
    label.textContent = share === null ? "" : percent(share);
  };
}

const barHtml = (digit) => `<li>
    <span class="bar-plot" role="meter" aria-label="${WORDS.digit(digit)}" aria-valuemin="0" aria-valuemax="100">
      <span class="bar-fill"></span><span class="percent"></span>
    </span>
    <span class="bar-digit" aria-hidden="true">${digit}</span>
  </li>`;
