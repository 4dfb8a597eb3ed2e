/** The proof of a confidence: how many test drawings that were answered like it were right, from the model's card, as a sentence and a diagram. */

import { fetchCard } from "./api.js";
import { WORDS, describeAnswer, describeBin, describeProof } from "./words.js";

const cards = new Map(); // version → promise of its card

/** Show the sentence for an answer, unless another has come meanwhile. Where the card has no such figures there is no sentence. */
export async function showProof(answer, isCurrent) {
  if (!["sure", "unsure"].includes(describeAnswer(answer).kind)) return;
  const bins = await findBins(answer.model.version);
  const marked = bins.findIndex(({ low, high }) => answer.confidence >= low && (answer.confidence < high || high >= 1));
  const sentence = describeProof(bins[marked]);
  if (!sentence || !isCurrent()) return;
  const button = document.getElementById("proof");
  button.textContent = sentence;
  button.hidden = false;
  button.onclick = () => openDiagram(bins, marked, answer);
}

async function findBins(version) {
  if (!cards.has(version)) cards.set(version, fetchCard(version));
  try {
    return readBins(await cards.get(version));
  } catch (error) {
    cards.delete(version);
    if (error.name !== "ApiError") throw error;
    return [];
  }
}

/** The bins of a card's reliability diagram: [{ low, high, count, confidence, accuracy }, …], none where the card has no usable ones. */
export function readBins({ reliability }) {
  const fields = ["low", "high", "count", "accuracy"];
  const isBin = (bin) => fields.every((field) => Number.isFinite(bin?.[field]));
  return Array.isArray(reliability) && reliability.every(isBin) ? reliability : [];
}

function openDiagram(bins, marked, answer) {
  const dialog = document.getElementById("proof-dialog");
  dialog.querySelector(".diagram").replaceChildren(drawDiagram(bins, marked));
  dialog.querySelector(".explanation").textContent = describeBin(bins[marked], answer.confidence);
  dialog.showModal();
}

const SIDE = 320; // of the plot, in SVG units
const LEFT = 44;
const TOP = 12;

/** The reliability diagram as SVG: for each bin of confidence the share that was right. marked: the bin to point out, or -1. */
export function drawDiagram(bins, marked = -1) {
  const x = (share) => LEFT + share * SIDE;
  const y = (share) => TOP + (1 - share) * SIDE;
  const svg = element("svg", { viewBox: `0 0 ${LEFT + SIDE + 16} ${TOP + SIDE + 56}`, role: "img", "aria-label": WORDS.diagram });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(element("line", { class: "rule", x1: x(0), x2: x(1), y1: y(share), y2: y(share) }));
    svg.append(label(x(0) - 8, y(share) + 4, `${share * 100}`, "end"), label(x(share), y(0) + 20, `${share * 100}`, "middle"));
  }
  bins.forEach(({ low, high, count, accuracy }, k) => {
    if (count === 0) return;
    const box = { x: x(low) + 1, width: Math.max(2, x(high) - x(low) - 2), y: y(accuracy), height: Math.max(1, y(0) - y(accuracy)) };
    svg.append(element("rect", { class: k === marked ? "bin is-marked" : "bin", ...box }));
  });
  svg.append(element("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  svg.append(label(x(0.5), y(0) + 44, WORDS.diagramX, "middle"));
  const upright = label(12, y(0.5), WORDS.diagramY, "middle");
  upright.setAttribute("transform", `rotate(-90 12 ${y(0.5)})`);
  svg.append(upright);
  return svg;
}

function label(x, y, text, anchor) {
  const made = element("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

function element(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
