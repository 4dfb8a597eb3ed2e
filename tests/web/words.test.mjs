import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError } from "../../web/api.js";
import {
  describeAmbiguous, describeAnswer, describeBin, describeChange, describeDrawing, describeEntry, describeFacts, describeModel, describePartial, describePicture,
  describeProblem, describeProof, describeReread, describeRetry, describeWait, percent,
} from "../../web/words.js";

const plain = (text) => text.replaceAll(/[\u00a0\u202f]/g, " ");
const answer = (fields) => ({
  digit: 7, reason: null, candidates: [7], confidence: 0.97, is_digit_probability: 0.99, model: { name: "digits", version: 1 }, ...fields,
});
const none = { digit: null, candidates: [], confidence: null, is_digit_probability: 0 };

for (const [share, words] of [
  [0, "<1 %"], [0.0001, "<1 %"], [0.0049, "<1 %"], [0.005, "1 %"], [0.5, "50 %"], [0.994, "99 %"], [0.996, ">99 %"], [0.99999, ">99 %"], [1, ">99 %"],
]) {
  test(`${share} reads ${words}`, () => assert.equal(plain(percent(share)), words));
}

for (const [name, fields, kind, big, title] of [
  ["sure beyond 99 %", { confidence: 0.9991 }, "sure", "7", "More than 99 % sure"],
  ["sure", { confidence: 0.97 }, "sure", "7", "97 % sure"],
  ["probable", { confidence: 0.71 }, "unsure", "7", "Probably, 71 % sure"],
  ["possible", { confidence: 0.41 }, "unsure", "7", "Perhaps, 41 % sure"],
  ["zero is a digit", { digit: 0, candidates: [0] }, "sure", "0", "97 % sure"],
  ["ambiguous", { digit: 9, reason: "ambiguous", candidates: [9, 4], confidence: 0.55 }, "ambiguous", "4 or 9?", "It reads as either"],
  ["perhaps no digit", { is_digit_probability: 0.51 }, "doubtful", "7?", "If it is a digit, a 7"],
  ["perhaps no digit, an 8", { digit: 8, candidates: [8], is_digit_probability: 0.89 }, "doubtful", "8?", "If it is a digit, an 8"],
  ["perhaps no digit, either", { digit: 9, reason: "ambiguous", candidates: [9, 4], is_digit_probability: 0.6 }, "doubtful", "4 or 9?", "If it is a digit, a 4 or a 9"],
  ["a joint confidence is its own number", { confidence: 0.9, is_digit_probability: 0.92 }, "sure", "7", "90 % sure"],
  ["not a digit", { ...none, reason: "not_a_digit" }, "not_a_digit", "", "That does not look like a digit"],
  ["faint", { ...none, reason: "faint" }, "faint", "", "A little more ink, please"],
  ["blank", { ...none, reason: "blank" }, "blank", "", ""],
]) {
  test(`an answer in words: ${name}`, () => {
    const words = describeAnswer(answer(fields));
    assert.deepEqual([words.kind, words.big, plain(words.title)], [kind, big, title]);
    if (kind === "doubtful") assert.doesNotMatch(`${words.title} ${words.note} ${words.spoken}`, /sure/);
  });
}

test("what may be no digit comes with how likely it is one", () =>
  assert.equal(plain(describeAnswer(answer({ is_digit_probability: 0.51 })).note), "It may be none: 51 % likely to be a digit at all."));

test("the likelier of two is named", () =>
  assert.equal(describeAnswer(answer({ digit: 8, reason: "ambiguous", candidates: [3, 8] })).note, "An 8 is a little likelier than a 3."));

test("a screen reader hears one sentence, and nothing for a blank canvas", () => {
  assert.equal(plain(describeAnswer(answer({})).spoken), "7, 97 % sure");
  assert.equal(describeAnswer(answer({ is_digit_probability: 0.5 })).spoken, "If it is a digit, a 7");
  assert.equal(describeAnswer(answer({ ...none, reason: "blank" })).spoken, "");
});

test("half a drawing gets no percent and no verdict", () => {
  assert.deepEqual(describePartial(answer({ digit: 5 })), { kind: "drawing", big: "5", title: "So far: 5", note: "" });
  assert.equal(describePartial(answer({ ...none, reason: "not_a_digit" })).title, "So far: …");
  assert.deepEqual(describePartial(null), { kind: "drawing", big: null, title: "Reading …", note: "" });
});

test("a long wait says that it is long", () => {
  assert.deepEqual([describeWait(false).title, describeWait(false).note], ["Reading …", ""]);
  assert.equal(describeWait(true).note, "This takes longer than usual. Your drawing is kept.");
});

for (const [name, fields, kind, title] of [
  ["no connection", { status: 0, code: "no_connection" }, "offline", "No connection to the server"],
  ["a proxy's 502", { status: 502, code: "not_the_gateway" }, "offline", "The server is not answering"],
  ["a proxy's 504", { status: 504, code: "not_the_gateway" }, "slow", "The server is taking long"],
  ["a proxy's 401", { status: 401, code: "not_the_gateway" }, "blocked", "Something in front of the page wants you to sign in"],
  ["a sign-in page", { status: 502, code: "another_page" }, "blocked", "Something in front of the page wants you to sign in"],
  ["a proxy's 413", { status: 413, code: "not_the_gateway" }, "blocked", "Something in front of the server refused the drawing"],
  ["busy", { status: 429, code: "busy" }, "busy", "A moment, please"],
  ["busy for an hour", { status: 429, code: "busy", retryAfter_s: 3600 }, "busy", "The server asks for a long break"],
  ["model away", { status: 503, code: "serving_unavailable" }, "waiting", "The model is not ready yet"],
  ["model slow", { status: 504, code: "serving_timeout" }, "slow", "The model is taking long"],
  ["broken reply", { status: 502, code: "bad_model_reply" }, "broken", "Something went wrong on the server"],
  ["crash", { status: 500, code: "internal" }, "broken", "Something went wrong on the server"],
  ["refused", { status: 413, code: "drawing_too_large" }, "refused", "The server cannot read this drawing"],
]) {
  test(`a problem in words: ${name}`, () => {
    const words = describeProblem(new ApiError({ message: "What happened", requestId: "5f1c", ...fields }));
    assert.deepEqual([words.kind, words.title], [kind, title]);
    if (["broken", "refused"].includes(kind)) assert.match(words.note, /request 5f1c\.$/);
    if (kind === "refused" || name === "broken reply") assert.match(words.note, /^What happened\./);
    if (name === "crash") assert.match(words.note, /^Your drawing is kept\./); // the title says all that its message does
    assert.equal(words.status === null, kind === "refused"); // only then the server is well and the drawing is at fault
  });
}

test("the time of the next try is a countdown, and for a long one a time of day", () => {
  assert.equal(plain(describeRetry(5, 0)), "or by itself in 5 s");
  assert.match(plain(describeRetry(3600, Date.UTC(2026, 0, 1, 14, 5))), /^or by itself at \d\d:\d\d.*, in 60 minutes$/);
  assert.equal(describeRetry(0, 0), "trying …");
});

for (const [bin, sentence] of [
  [{ count: 500, accuracy: 0.96 }, "Of 100 test drawings answered this surely, 96 were right"],
  [{ count: 9000, accuracy: 0.9991 }, "Of 100 test drawings answered this surely, more than 99 were right"],
  [{ count: 7, accuracy: 0.5 }, "Only 7 test drawings were answered this surely"],
  [{ count: 1, accuracy: 1 }, "Only 1 test drawing was answered this surely"],
  [{ count: 0, accuracy: 0 }, null], [undefined, null],
]) {
  test(`the proof of a confidence: ${sentence}`, () => assert.equal(describeProof(bin), sentence));
}

test("a bin is described with its range, its count and its share", () =>
  assert.equal(
    plain(describeBin({ low: 0.935, high: 1, count: 9021, accuracy: 0.998 }, 0.97)),
    "This answer is 97 % sure. Of the test drawings, 9,021 were answered 93.5 to 100 % sure, and >99 % of those answers were right.",
  ));

test("an answer as a line of the trail, and a change between versions", () => {
  assert.deepEqual(describeEntry(answer({})), { name: "7", sure: "97\u202f%", version: "v1" });
  assert.deepEqual(describeEntry(answer({ ...none, reason: "not_a_digit" })), { name: "none", sure: "", version: "v1" });
  assert.equal(describeEntry(answer({ is_digit_probability: 0.5 })).name, "7?");
  const [before, now] = [answer({ digit: 4, candidates: [4] }), answer({ digit: 9, candidates: [9], model: { name: "digits", version: 2 } })];
  assert.equal(plain(describeChange(before, now)), "v1: 4 → v2: 9");
  assert.deepEqual([describeReread(0, 1, 2), describeReread(0, 12, 2), describeReread(2, 12, 2)], [
    "Read the same by version 2", "All 12 read the same by version 2", "2 of 12 read differently by version 2",
  ]);
});

test("model, time, drawing and picture in words", () => {
  assert.equal(describeModel({ name: "digits", version: 3 }), "digits, version 3");
  const facts = (took_ms) => plain(describeFacts({ name: "digits", version: 3 }, took_ms));
  assert.deepEqual([0.2, 11.6, 1340].map(facts), ["digits, version 3, in 1 ms", "digits, version 3, in 12 ms", "digits, version 3, in 1.3 s"]);
  assert.deepEqual([0, 1, 2].map(describeDrawing), ["Your drawing: empty", "Your drawing: 1 stroke", "Your drawing: 2 strokes"]);
  assert.equal(describePicture("digits, version 3", "localhost"), "Read by digits, version 3 · localhost");
});

test("a rule of the card in words", () =>
  assert.equal(describeAmbiguous("80 %", "95 %"), "given a digit, up to 80 % for one and 95 % or more for two together"));
