/**
 * All that the page says from the first stroke to its answer, as pure functions of an answer or an error: honest about how sure, plain about what is
 * wrong. What is needed later has its words in words-later.js.
 */

const A_DIGIT = 0.9; // is_digit_probability below which the headline says "if it is a digit"
const PROBABLE = 0.9; // confidence below which the words say "probably"
const POSSIBLE = 0.6; // and below which "perhaps"

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
  if (reason === "faint") return words("faint", "", "A little more ink, please", "Draw the digit larger, about as tall as half the page.");
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

/** How long an answer took from here. */
export const describeTime = (took_ms) => (took_ms < 1000 ? `${Math.max(1, Math.round(took_ms))}\u202fms` : `${(took_ms / 1000).toFixed(1)}\u202fs`);

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
};
