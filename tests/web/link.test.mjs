import assert from "node:assert/strict";
import { test } from "node:test";

import { MOST_CHARACTERS, decode, encode } from "../../web/link.js";

const SEVEN = [[[116, 100, 0], [150.3, 97.1, 16], [280.9, 91, 90], [202.2, 284.4, 410]], [[140, 200, 700], [250, 196.7, 850]]];
const scribble = (points) => Array.from({ length: points }, (_, k) => [200 + 190 * Math.sin(k / 31), 200 + 190 * Math.sin(k / 47), 8 * k]);

test("a drawing comes back as it was, to half a unit and four milliseconds", () => {
  const back = decode(encode(SEVEN));
  assert.deepEqual(back.map((stroke) => stroke.length), [4, 2]);
  back.flat().forEach(([x, y, t], k) => {
    const [x0, y0, t0] = SEVEN.flat()[k];
    assert.ok(Math.abs(x - x0) <= 0.25 && Math.abs(y - y0) <= 0.25 && Math.abs(t - t0) <= 2, `point ${k}`);
  });
});

test("points outside the canvas come back too", () => assert.deepEqual(decode(encode([[[-400, 800, 0], [799.5, -12, 40]]])), [[[-400, 800, 0], [799.5, -12, 40]]]));

for (const [name, strokes] of [
  ["a scribble of 21,000 points", [scribble(21_000)]],
  ["five hundred dots", Array.from({ length: 500 }, (_, k) => [[(k * 37) % 400, (k * 91) % 400, 100 * k]])],
  ["a usual digit", [scribble(150)]],
]) {
  test(`the text of ${name} fits into a link and holds only what an address may`, () => {
    const text = encode(strokes);
    assert.ok(text.length <= MOST_CHARACTERS, `${text.length} characters`);
    assert.match(text, /^[\w-]+$/);
    assert.ok(decode(text).length > 0);
  });
}

for (const [name, text] of [
  ["nothing", ""], ["no base64", "%%%"], ["another format", "Ag"], ["a cut one", encode(SEVEN).slice(0, -3)], ["no stroke", "AQ"], ["an empty stroke", "AQA"],
  ["points far away", encode([[[0, 0, 0]]]).replace(/^..../, "AQL_")],
]) {
  test(`a damaged text is no drawing: ${name}`, () => assert.equal(decode(text), null));
}
