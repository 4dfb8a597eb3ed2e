/**
 * All that the page says, in this one file: to translate the page, translate this. PAGE is what stands in index.html and card.html; the rest are pure
 * functions of an answer, an error or a count, honest about how sure, plain about what is wrong.
 */

/** Read as JSON by the gateway, which puts each text where a page says {{its name}}, and leaves PAGE out of what it sends. dir: "rtl" for a language that is written so. */
export const PAGE = {
  "lang": "en",
  "dir": "ltr",
  "name": "pynumdraw",
  "shareTitle": "pynumdraw: draw a digit",
  "lead": "Draw a digit. It says how sure it is, or that it is none.",
  "connecting": "connecting",
  "notLoaded": "A part of the page has not loaded.",
  "loadAgain": "Load it again",
  "needsScript": "Drawing needs JavaScript, which is turned off in this browser; programs can post strokes to",
  "drawing": "Drawing",
  "drawWith": "with mouse, pen or finger",
  "tools": "Drawing tools",
  "undo": "Undo",
  "redo": "Redo",
  "clear": "Clear",
  "answer": "Answer",
  "examples": "Or watch one being drawn",
  "seven": "a plain 7",
  "either": "4 or 9?",
  "none": "not a digit",
  "tryNow": "Try now",
  "isDigit": "A digit?",
  "whichDigit": "If it is one, which?",
  "saw": "What the model saw",
  "sawNote": "Your ink in 28 × 28 pixels, scaled and centred like the digits it learned from.",
  "copyLink": "Copy link",
  "copyPicture": "Copy picture",
  "trail": "Your last drawings",
  "kept": "Kept in this browser only.",
  "askAgain": "Ask again",
  "forget": "Forget all",
  "proof": "How true the confidence is",
  "close": "Close",
  "source": "Source",
  "api": "API",
  "card": "Model card",
  "draw": "Draw a digit",
  "cardNeedsScript": "This page needs JavaScript; the same card as JSON is at",
  "cardIntroduction": "This is what the version that answers now says of itself. It was measured once, on the 10,000 test digits of MNIST and on drawings of no digit, after training had ended.",
  "recipe": "Recipe",
  "threshold": "Taken for a digit from a probability of",
  "prior": "Share of digits assumed among drawings",
  "ambiguous": "Called ambiguous",
  "inkVersion": "Version of the ink",
  "metrics": "Figures",
  "metricsNote": "Drawings made with mouse or finger are not MNIST: expect a little less.",
  "n": "Test digits",
  "accuracy": "Read right",
  "nll": "Mean negative log likelihood, nats",
  "ece": "Expected calibration error, given a digit",
  "eceFloor": "The same for a perfectly calibrated model, by chance",
  "validationAccuracy": "Read right in validation",
  "errorsByDigit": "Errors for the digits 0 to 9",
  "diagramNote": "Each bar is the share of answers of that confidence that were right. On the dashed line, confidence and truth are the same.",
  "confidence": "Confidence",
  "answers": "Answers",
  "right": "Right"
};


const A_DIGIT = 0.9; // is_digit_probability below which the headline says that it may be none
const PROBABLE = 0.9; // confidence below which the words say that it is probable
const POSSIBLE = 0.6; // and below which only possible

/** A share as people read it: nothing is certain and nothing impossible, so never 100 % and never 0 %. */
export function percent(share) {
  if (share < 0.005) return "<1\u202f%";
  if (share >= 0.995) return ">99\u202f%";
  return `${Math.round(share * 100)}\u202f%`;
}

/**
 * Words for an answer to a finished drawing: { kind, big, title, note, spoken }. big is the digit ("7", "7?", "4 or 9?") or empty, spoken one sentence
 * for a screen reader. kind: "sure" | "unsure" | "doubtful" | "ambiguous" | "not_a_digit" | "faint" | "blank".
 */
export function describeAnswer({ digit, reason, candidates, confidence, is_digit_probability }) {
  if (reason === "blank") return words("blank", "", "", "");
  if (reason === "faint") return words("faint", "", "A little more ink, please", "Draw the digit larger, about half as tall as the paper.");
  if (digit === null) return words("not_a_digit", "", "That does not look like a digit", "One digit at a time, 0 to 9. If it is one, try drawing it more plainly.");
  const isEither = reason === "ambiguous";
  const names = [...candidates].sort();
  const big = isEither ? `${names[0]} or ${names[1]}?` : `${digit}`;
  if (is_digit_probability < A_DIGIT) {
    const which = isEither ? `${aDigit(names[0])} or ${aDigit(names[1])}` : aDigit(digit);
    const title = `If it is a digit, ${which}`;
    return { ...words("doubtful", isEither ? big : `${big}?`, title, `It may be none: ${percent(is_digit_probability)} likely to be a digit at all.`), spoken: title };
  }
  if (isEither) {
    const other = candidates.find((candidate) => candidate !== digit);
    return words("ambiguous", big, "It reads as either", `${capital(aDigit(digit))} is a little likelier than ${aDigit(other)}.`);
  }
  const sure = confidence >= 0.995 ? `more than ${percent(0.99)} sure` : `${percent(confidence)} sure`;
  if (confidence >= PROBABLE) return words("sure", big, capital(sure), "");
  return words("unsure", big, `${confidence >= POSSIBLE ? "Probably" : "Perhaps"}, ${sure}`, "");
}

const words = (kind, big, title, note) => ({ kind, big, title, note, spoken: [big, title].filter(Boolean).join(", ") });
const aDigit = (digit) => `${digit === 8 ? "an" : "a"} ${digit}`;

/** Words while the pen draws. answer: of the ink so far, null where none is there yet. No verdict on half a digit. */
export const describePartial = (answer) =>
  answer === null ? READING : { kind: "drawing", big: answer.digit === null ? "" : `${answer.digit}`, title: `So far: ${answer.digit ?? "…"}`, note: "" };

const READING = { kind: "drawing", big: null, title: "Reading …", note: "" }; // big null: the digit before stays, in grey

/** Words while the answer to a finished drawing is on its way. */
export const describeWait = (isLong) => ({ ...READING, kind: "reading", note: isLong ? "This takes longer than usual. Your drawing is kept." : "" });

/** Words for what is wrong: { kind, status, title, note }. error: ApiError. Whatever happens the drawing is kept, and the words say so where it matters. */
export function describeProblem({ status, code, message, requestId, retryAfter_s }) {
  const mention = requestId ? ` If it goes on, mention request ${requestId}.` : "";
  const isOurs = code !== "not_the_gateway" && code !== "another_page";
  if (status === 0) return problem("offline", "no connection", "No connection to the server", "Your drawing is kept and will be read as soon as the connection is back.");
  if (code === "another_page" || (!isOurs && (status === 401 || status === 403))) {
    return problem("blocked", "signed out?", "Something in front of the page wants you to sign in", "Your drawing is kept in this tab: load the page again, sign in, and it will be read.");
  }
  if (!isOurs && status === 504) return problem("slow", "slow", "The server is taking long", "Your drawing is kept; asking again.");
  if (!isOurs && status >= 500) return problem("offline", "no connection", "The server is not answering", "Your drawing is kept and will be read as soon as it is back.");
  if (status === 429) {
    const isLong = retryAfter_s > 90;
    return problem("busy", "busy", isLong ? "The server asks for a long break" : "A moment, please", isLong ? "It takes no more drawings for now. Yours is kept." : "Many drawings are being read just now; yours is next.");
  }
  if (status === 503) {
    return problem("waiting", "model not ready", "The model is not ready yet", "The model is still being trained or loaded; drawing works, answers come as soon as it is ready.");
  }
  if (status === 504) return problem("slow", "slow", "The model is taking long", `Your drawing is kept; asking again.${mention}`);
  if (code === "internal") return problem("broken", "server error", "Something went wrong on the server", `Your drawing is kept.${mention}`);
  if (status >= 500) return problem("broken", "server error", "Something went wrong on the server", `${sentence(message)} Your drawing is kept.${mention}`);
  if (!isOurs) return problem("blocked", "blocked", "Something in front of the server refused the drawing", `${sentence(message)} Your drawing is kept.`);
  return problem("refused", null, "The server cannot read this drawing", `${sentence(message)}${mention}`);
}

const problem = (kind, status, title, note) => ({ kind, status, title, note });
const capital = (text) => text[0].toUpperCase() + text.slice(1);
export const sentence = (text) => capital(/[.!?]$/.test(text) ? text : `${text}.`);

/** When the page tries again by itself. left_s: seconds until then, on_ms: that moment on the clock. */
export function describeRetry(left_s, on_ms) {
  if (left_s <= 0) return "trying …";
  if (left_s <= 90) return `or by itself in ${left_s}\u202fs`;
  return `or by itself at ${new Date(on_ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}, in ${Math.round(left_s / 60)}\u202fminutes`;
}

/** Which model: "digits, version 3". */
export const describeModel = ({ name, version }) => `${name}, version ${version}`;

/** Which model answered, and how long that took from here: "digits, version 3, in 12 ms". */
export const describeFacts = (model, took_ms) =>
  `${describeModel(model)}, in ${took_ms < 1000 ? `${Math.max(1, Math.round(took_ms))}\u202fms` : `${(took_ms / 1000).toFixed(1)}\u202fs`}`;

/** The pad's name for a screen reader. */
export const describeDrawing = (count) => `Your drawing: ${count === 0 ? "empty" : count === 1 ? "1 stroke" : `${count} strokes`}`;

export const WORDS = {
  ready: "ready",
  noVersion: "No version of the model is available yet.",
  unreachable: "The server cannot be reached.",
  status: (status) => `The server answered ${status}.`,
  digit: (digit) => `Digit ${digit}`,
  noAnswer: "no answer",
  frame: "Your drawing as 28 by 28 grey pixels",
  noFrame: "Nothing yet",
  partMissing: "A part of the page did not load. Try again, or load the page anew.",
  badLink: "The link is damaged: it holds no drawing.",
  linkCopied: "Link copied",
  linkInAddress: "The link is in the address bar",
  pictureCopied: "Picture copied",
  pictureSaved: "Picture saved as a file",
  pictureFile: "pynumdraw.png",
  rereadFailed: "Not all could be read again; try later",
  showEntry: "Draw it again:",
  diagram: "Reliability diagram: for each range of confidence the share of the test drawings that were read right",
  diagramX: "how sure the answer was, %",
  diagramY: "right, %",
  noCard: (message) => `The card cannot be shown. ${sentence(message)}`,
};

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
export const describeChange = (before, now) => [before, now].map(describeEntry).map(({ name, version }) => `${version}:\u00a0${name}`).join(" → ");

/** What came of reading the whole trail again. */
export function describeReread(changed, count, version) {
  const by = `by version ${version}`;
  if (changed === 0) return count === 1 ? `Read the same ${by}` : `All ${count} read the same ${by}`;
  return `${changed} of ${count} read differently ${by}`;
}

/** A range of confidence, as fine as its bounds. low, high: shares. */
export const describeRange = (low, high) => `${Number((low * 100).toFixed(2))} to ${Number((high * 100).toFixed(2))}\u202f%`;

/** One bin of the reliability diagram, in which an answer lies. */
export function describeBin({ low, high, count, accuracy }, confidence) {
  const range = describeRange(low, high);
  return `This answer is ${percent(confidence)} sure. Of the test drawings, ${count.toLocaleString("en")} were answered ${range} sure, and ${percent(accuracy)} of those answers were right.`;
}

/** When a card's version calls an answer ambiguous. max, pair: shares. */
export const describeAmbiguous = (max, pair) => `given a digit, up to ${max} for one and ${pair} or more for two together`;

/** The line under a picture to send. */
export const describePicture = (model, host) => `Read by ${model} · ${host}`;

