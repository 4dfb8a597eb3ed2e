/** All that the page says after its first answer: trail, link, picture, proof, and the model card's page. */

import { describeAnswer, percent, sentence } from "./words.js";

const ENOUGH = 20; // test drawings in a bin before its share is worth a sentence; arbitrary, one more or less is 5 % of so many

/** What a share of the test drawings says about an answer's confidence; null where no test drawing was answered like it. bin: { count, accuracy }. */
export function describeProof(bin) {
  if (!bin || bin.count === 0) return null;
  if (bin.count < ENOUGH) return `Only ${bin.count} test drawing${bin.count > 1 ? "s were" : " was"} answered this surely`;
  const right = bin.accuracy >= 0.995 ? "more than 99" : `${Math.round(bin.accuracy * 100)}`;
  return `Of 100 test drawings answered this surely, ${right} were right`;
}

/** An answer as a line of the trail: { name, sure, version }. */
export function describeEntry(answer) {
  const { kind, big } = describeAnswer(answer);
  return { name: big || "none", sure: ["sure", "unsure"].includes(kind) ? percent(answer.confidence) : "", version: `v${answer.model.version}` };
}

/** What a drawing was read as before and is now: "v1: 4 → v2: 9". */
export const describeChange = (before, now) => [before, now].map(describeEntry).map(({ name, version }) => `${version}: ${name}`).join(" → ");

/** What came of reading the whole trail again. */
export function describeReread(changed, count, version) {
  const by = `by version ${version}`;
  if (changed === 0) return count === 1 ? `Read the same ${by}` : `All ${count} read the same ${by}`;
  return `${changed} of ${count} read differently ${by}`;
}

/** One bin of the reliability diagram, in which an answer lies. */
export function describeBin({ low, high, count, accuracy }, confidence) {
  const range = `${Math.round(low * 100)} to ${Math.round(high * 100)}\u202f%`;
  return `This answer is ${percent(confidence)} sure. Of the test drawings, ${count.toLocaleString("en")} were answered ${range} sure, and ${percent(accuracy)} of those answers were right.`;
}

/** The line under a picture to send. */
export const describePicture = (model, host) => `Read by ${model} · ${host}`;

export const LATER = {
  linkCopied: "Link copied",
  linkInAddress: "The link is in the address bar",
  pictureCopied: "Picture copied",
  pictureSaved: "Picture saved as a file",
  pictureFile: "pynumdraw.png",
  rereadFailed: "Not all could be read again; try later",
  showEntry: (text) => `Draw it again: ${text}`,
  diagram: "Reliability diagram: for each range of confidence the share of the test drawings that were read right",
  diagramX: "how sure the answer was, %",
  diagramY: "right, %",
};

const figure = (value) => (Number.isInteger(value) ? value.toLocaleString("en") : `${Number(value.toPrecision(4))}`);
const METRICS = { n: "Test digits", accuracy: "Read right", nll: "Mean negative log likelihood, nats", ece: "Expected calibration error", ece_floor: "The same for a perfectly calibrated model, by chance", validation_accuracy: "Read right in validation", errors_by_digit: "Errors for the digits 0 to 9" };
const share = (value) => `${(value * 100).toFixed(2)}\u202f%`;

/** The words of the model card's page. What a card does not have is left out, what we do not know stands under its own name. */
export const CARD = {
  title: ({ model, version }) => `${model}, version ${version}`,
  introduction: "This is what the version that answers now says of itself. It was measured once, on the 10,000 test digits of MNIST, after training had ended.",
  facts: ({ recipe, threshold, prior, ambiguous, ink_version }) =>
    [
      ["Recipe", recipe],
      ["Taken for a digit from a probability of", threshold === undefined ? undefined : figure(threshold)],
      ["Share of digits assumed among drawings", prior === undefined ? undefined : share(prior)],
      ["Called ambiguous", ambiguous && `up to ${share(ambiguous.max_confidence)} sure, two digits with ${share(ambiguous.min_pair)} together`],
      ["Version of the ink", ink_version && `${ink_version}`],
    ].filter(([, value]) => value !== undefined),
  metricsTitle: "Figures",
  metricsNote: "Drawings made with mouse or finger are not MNIST: expect a little less.",
  metrics: (metrics) =>
    Object.entries(metrics)
      .filter(([, value]) => typeof value === "number" || Array.isArray(value))
      .map(([key, value]) => [METRICS[key] ?? key.replaceAll("_", " "), Array.isArray(value) ? value.join(", ") : key.endsWith("accuracy") ? share(value) : figure(value)]),
  diagramTitle: "How true the confidence is",
  diagramNote: "Each bar is the share of answers of that confidence that were right. On the dashed line, confidence and truth are the same.",
  binHeads: ["Confidence", "Answers", "Right"],
  bin: ({ low, high, count, accuracy }) => [`${Math.round(low * 100)} to ${Math.round(high * 100)}\u202f%`, count.toLocaleString("en"), share(accuracy)],
  missing: (message) => `The card cannot be shown. ${sentence(message)}`,
};
