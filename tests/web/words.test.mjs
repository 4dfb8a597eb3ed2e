import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError } from "../../web/api.js";
import { percent, sayAnswer, sayModel, sayTime, sayTrouble } from "../../web/words.js";

const plain = (text) => text.replaceAll("\u202f", " ");
const answer = (fields) => ({ digit: 7, reason: null, candidates: [7], confidence: 0.97, ...fields });

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
  ["not a digit", { digit: null, reason: "not_a_digit", candidates: [], confidence: null }, "not_a_digit", "", "That does not look like a digit"],
  ["faint", { digit: null, reason: "faint", candidates: [], confidence: null }, "faint", "", "A little more ink, please"],
  ["blank", { digit: null, reason: "blank", candidates: [], confidence: null }, "blank", "", ""],
]) {
  test(`an answer in words: ${name}`, () => {
    const said = sayAnswer(answer(fields));
    assert.deepEqual([said.kind, said.big, plain(said.title)], [kind, big, title]);
  });
}

test("confidence is told as how many of such answers are right", () =>
  assert.equal(sayAnswer(answer({ confidence: 0.84 })).note, "Of a hundred answers this sure, about 84 are right."));

test("the likelier of two is named", () =>
  assert.equal(sayAnswer(answer({ digit: 9, reason: "ambiguous", candidates: [4, 9] })).note, "A 9 is a little likelier than a 4."));

test("a screen reader hears one sentence, and nothing for a blank canvas", () => {
  assert.equal(plain(sayAnswer(answer({})).spoken), "7, 97 % sure");
  assert.equal(sayAnswer(answer({ digit: null, reason: "blank" })).spoken, "");
});

for (const [name, fields, kind, title] of [
  ["no connection", { status: 0, code: "no_connection" }, "offline", "No connection to the server"],
  ["a proxy's page", { status: 502, code: "not_the_gateway" }, "offline", "The server is not answering"],
  ["busy", { status: 429, code: "busy" }, "busy", "A moment, please"],
  ["model away", { status: 503, code: "serving_unavailable" }, "waiting", "The model is not ready yet"],
  ["model slow", { status: 504, code: "serving_timeout" }, "waiting", "The model is taking long"],
  ["broken reply", { status: 502, code: "bad_model_reply" }, "broken", "Something went wrong on the server"],
  ["crash", { status: 500, code: "internal" }, "broken", "Something went wrong on the server"],
  ["refused", { status: 413, code: "drawing_too_large" }, "refused", "The server cannot read this drawing"],
]) {
  test(`trouble in words: ${name}`, () => {
    const said = sayTrouble(new ApiError({ message: "What happened", requestId: "5f1c", ...fields }));
    assert.deepEqual([said.kind, said.title], [kind, title]);
    if (["broken", "refused"].includes(kind)) assert.match(said.note, /^What happened\..*request 5f1c\.$/);
  });
}

test("model and time are told as people say them", () => {
  assert.equal(sayModel("digits", [3]), "digits, version 3");
  assert.equal(sayModel("digits", [2, 3]), "digits, versions 2 and 3");
  assert.deepEqual([0.2, 11.6, 1340].map(sayTime).map(plain), ["1 ms", "12 ms", "1.3 s"]);
});
