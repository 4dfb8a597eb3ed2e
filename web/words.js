/** What the page says, as pure functions of an answer or an error: honest about how sure, plain about what is wrong. */

const PROBABLE = 0.9; // below it the words say "probably"
const POSSIBLE = 0.6; // below it "perhaps"

/** A share as people read it: nothing is certain and nothing impossible, so never 100 % and never 0 %. */
export function percent(share) {
  if (share < 0.005) return "<1\u202f%";
  if (share >= 0.995) return ">99\u202f%";
  return `${Math.round(share * 100)}\u202f%`;
}

/**
 * Say an answer. Returns { kind, big, title, note, spoken }: big is the digit (or "4 or 9?") or empty, spoken one sentence for a screen reader.
 * kind: "sure" | "unsure" | "ambiguous" | "not_a_digit" | "faint" | "blank".
 */
export function sayAnswer({ digit, reason, candidates, confidence }) {
  if (reason === "blank") return say("blank", "", "", "");
  if (reason === "faint") return say("faint", "", "A little more ink, please", "Draw the digit larger, about as tall as half the page.");
  if (digit === null) return say("not_a_digit", "", "That does not look like a digit", "One digit at a time, 0 to 9. If it is one, try drawing it more plainly.");
  if (reason === "ambiguous") {
    const other = candidates.find((candidate) => candidate !== digit);
    const names = [...candidates].sort();
    return say("ambiguous", `${names[0]} or ${names[1]}?`, "It reads as either", `A ${digit} is a little likelier than a ${other}.`);
  }
  const sure = confidence >= 0.995 ? `more than ${percent(0.99)} sure` : `${percent(confidence)} sure`;
  const inHundred = Math.min(99, Math.round(confidence * 100));
  const note = `Of a hundred answers this sure, ${confidence >= 0.995 ? "at least" : "about"} ${inHundred} are right.`;
  if (confidence >= PROBABLE) return say("sure", `${digit}`, capital(sure), note);
  return say("unsure", `${digit}`, `${confidence >= POSSIBLE ? "Probably" : "Perhaps"}, ${sure}`, note);
}

function say(kind, big, title, note) {
  return { kind, big, title, note, spoken: [big, title].filter(Boolean).join(", ") };
}

/** Say what is wrong. error: ApiError. Returns { kind, title, note }; the drawing is kept whatever happens, and the words say so where it matters. */
export function sayTrouble({ status, code, message, requestId }) {
  const mention = requestId ? ` If it goes on, mention request ${requestId}.` : "";
  if (status === 0) return { kind: "offline", title: "No connection to the server", note: "Your drawing is kept and will be read as soon as the connection is back." };
  if (code === "not_the_gateway" && status >= 502) {
    return { kind: "offline", title: "The server is not answering", note: "Your drawing is kept and will be read as soon as it is back." };
  }
  if (status === 429) return { kind: "busy", title: "A moment, please", note: "Many drawings are being read just now; yours is next." };
  if (status === 503) {
    return {
      kind: "waiting",
      title: "The model is not ready yet",
      note: "The model is still being trained or loaded; drawing works, answers come as soon as it is ready.",
    };
  }
  if (status === 504) return { kind: "waiting", title: "The model is taking long", note: `Your drawing is kept; asking again.${mention}` };
  if (status >= 500) return { kind: "broken", title: "Something went wrong on the server", note: `${sentence(message)} Your drawing is kept.${mention}` };
  return { kind: "refused", title: "The server cannot read this drawing", note: `${sentence(message)}${mention}` };
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const sentence = (text) => capital(/[.!?]$/.test(text) ? text : `${text}.`);

/** Which model: "digits, version 3", and while one replaces another "digits, versions 2 and 3". */
export const sayModel = (name, versions) => `${name}, version${versions.length > 1 ? "s" : ""} ${versions.join(" and ")}`;

/** How long an answer took from here. */
export const sayTime = (took_ms) => (took_ms < 1000 ? `${Math.max(1, Math.round(took_ms))}\u202fms` : `${(took_ms / 1000).toFixed(1)}\u202fs`);
