/** The trail: the last drawings with their answers, kept in this browser only. */

import { drawStrokes } from "./ink.js";
import { decode, encode } from "./link.js";
import { TRAIL, keep, recall } from "./storage.js";
import { toRequest } from "./strokes.js";
import { WORDS, describeChange, describeEntry, describeReread } from "./words.js";

const MOST = 12;
const THUMB_PX = 112; // canvas pixels a side, two for each CSS px

/**
 * show(strokes): put a drawing of the trail on the paper. predict(body, { signal }): as in api.js. Returns { add(strokes, answer) }.
 *
 * An entry: { drawing, answer, before }: the drawing as link.js writes it, the newest answer's fields, and an answer of before that was another.
 */
export function createTrail({ show, predict }) {
  const section = document.getElementById("trail");
  const list = document.getElementById("trail-list");
  const status = document.getElementById("trail-status");
  const askAgain = document.getElementById("ask-again");
  let entries = (recall("localStorage", TRAIL) ?? []).filter(({ drawing, answer }) => answer?.model && decode(drawing ?? "")).slice(0, MOST);
  let newest = null; // strokes of the drawing that the first entry is about, as long as it is on the paper

  function render() {
    section.hidden = entries.length === 0;
    const colour = getComputedStyle(list).color;
    list.replaceChildren(...entries.map((entry) => item(entry, colour, show)));
    keep("localStorage", TRAIL, entries.length > 0 ? entries : null);
  }

  async function reread() {
    askAgain.setAttribute("aria-disabled", true);
    let changed = 0;
    let version = null;
    try {
      for (const entry of [...entries]) {
        const answer = await predict(toRequest(decode(entry.drawing)), { signal: new AbortController().signal });
        const differs = describeEntry(answer).name !== describeEntry(entry.answer).name;
        version = answer.model.version;
        changed += differs;
        if (differs || version !== entry.answer.model.version) entry.before = differs ? entry.answer : null;
        entry.answer = summary(answer);
      }
      status.textContent = describeReread(changed, entries.length, version);
    } catch (error) {
      status.textContent = WORDS.rereadFailed;
      if (error.name !== "ApiError") throw error;
    } finally {
      askAgain.setAttribute("aria-disabled", false);
      render();
    }
  }

  askAgain.addEventListener("click", () => askAgain.getAttribute("aria-disabled") === "true" || reread());
  document.getElementById("forget").addEventListener("click", () => {
    entries = [];
    newest = null;
    status.textContent = "";
    render();
    document.getElementById("pad").focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
  render();

  return {
    /** Keep a drawing and its answer: as a new entry, or in place of the entry for the same drawing with less or more ink. */
    add(strokes, answer) {
      const drawing = encode(strokes);
      if (newest?.[0] === strokes[0]) entries.shift();
      entries = entries.filter((entry) => entry.drawing !== drawing);
      entries.unshift({ drawing, answer: summary(answer), before: null });
      entries.length = Math.min(entries.length, MOST);
      newest = strokes;
      render();
    },
  };
}

const summary = ({ digit, reason, candidates, confidence, is_digit_probability, model }) => ({
  digit,
  reason,
  candidates,
  confidence,
  is_digit_probability,
  model,
});

function item({ drawing, answer, before }, colour, show) {
  const { name, sure, version } = describeEntry(answer);
  const change = before && describeChange(before, answer);
  const li = document.createElement("li");
  li.innerHTML = `<button type="button" class="thumb"><canvas width="${THUMB_PX}" height="${THUMB_PX}" aria-hidden="true"></canvas><span class="unseen">${WORDS.showEntry}</span> <b></b> <span class="sure"></span></button>`;
  const button = li.firstChild;
  li.querySelector("b").textContent = name;
  li.querySelector(".sure").textContent = change ?? [sure, version].filter(Boolean).join(", ");
  li.classList.toggle("is-changed", Boolean(change));
  const strokes = decode(drawing);
  drawStrokes(li.querySelector("canvas").getContext("2d"), strokes, colour);
  button.addEventListener("click", () => show(strokes));
  return li;
}
