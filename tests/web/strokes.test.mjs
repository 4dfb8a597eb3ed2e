import assert from "node:assert/strict";
import { test } from "node:test";

import { BLANK, PEN, SIDE, add, clear, countPoints, duration_ms, nextPoint, redo, replace, thinned, toCanvas, toRequest, undo } from "../../web/strokes.js";

const A = [[10, 10, 0]];
const B = [[20, 20, 5]];

test("a stroke is added behind the others and the history before stays as it was", () => {
  const one = add(BLANK, A);
  const two = add(one, B);
  assert.deepEqual(two.strokes, [A, B]);
  assert.deepEqual(one.strokes, [A]);
  assert.deepEqual(BLANK.strokes, []);
});

test("undo and redo walk through every drawing there was", () => {
  const two = add(add(BLANK, A), B);
  assert.deepEqual(undo(two).strokes, [A]);
  assert.deepEqual(undo(undo(two)).strokes, []);
  assert.deepEqual(redo(redo(undo(undo(two)))), two);
});

test("undo brings a cleared drawing back", () => assert.deepEqual(undo(clear(add(add(BLANK, A), B))).strokes, [A, B]));

test("a new stroke after undo ends what could be redone", () => {
  const other = add(undo(add(BLANK, A)), B);
  assert.deepEqual(redo(other), other);
  assert.deepEqual(other.strokes, [B]);
});

for (const [name, step] of [["undo", undo], ["redo", redo], ["clear", clear], ["a stroke without points", (history) => add(history, [])]]) {
  test(`${name} changes nothing on a blank canvas`, () => assert.deepEqual(step(BLANK), BLANK));
}

test("another drawing in place of this one is a step that undo takes back", () =>
  assert.deepEqual(undo(replace(add(BLANK, A), [B])).strokes, [A]));

test("a point is kept with a tenth of a unit and whole milliseconds", () =>
  assert.deepEqual(nextPoint(undefined, [1.2345, 9.876, 12.7]), [1.2, 9.9, 13]));

test("a point that hardly moved adds nothing", () => {
  assert.equal(nextPoint([100, 100, 0], [100.5, 100.5, 8]), null);
  assert.deepEqual(nextPoint([100, 100, 0], [103, 100, 8]), [103, 100, 8]);
});

test("a pointer far outside is kept within one canvas beyond each edge, which is what the gateway takes", () =>
  assert.deepEqual(nextPoint(undefined, [-9999, 9999, 0]), [-SIDE, 2 * SIDE, 0]));

test("a drawing as people make it is sent as it is", () => {
  const strokes = [A, Array.from({ length: 1500 }, (_, k) => [k % 400, (k * 7) % 400, k])];
  assert.equal(toRequest(strokes).strokes, strokes);
});

test("an endless scribble is thinned to what a request may hold, its ends kept", () => {
  const scribble = Array.from({ length: 21_000 }, (_, k) => [200 + 190 * Math.sin(k / 31), 200 + 190 * Math.sin(k / 47), k]);
  const [stroke] = toRequest([scribble]).strokes;
  assert.ok(stroke.length <= 2000 && stroke.length > 800, `${stroke.length} points`);
  assert.deepEqual([stroke[0], stroke.at(-1)], [scribble[0], scribble.at(-1)]);
});

test("of thousands of strokes the longest thousand are sent, in their order", () => {
  const strokes = Array.from({ length: 3000 }, (_, k) => (k % 3 === 0 ? [[k % 400, 0, k], [k % 400, 9, k]] : [[k % 400, 0, k]]));
  const { strokes: sent } = toRequest(strokes);
  assert.deepEqual(sent, strokes.filter((_, k) => k % 3 === 0));
  assert.equal(countPoints(thinned(strokes, 10)), 2000);
});

test("a drawing takes until its last point", () => assert.deepEqual([duration_ms([]), duration_ms([A, [[1, 1, 90], [5, 5, 140]]])], [0, 140]));

for (const [name, rect, client] of [
  ["at 100 %", { left: 100, top: 50, width: 400, height: 400 }, [300, 250]],
  ["shown larger", { left: 100, top: 50, width: 800, height: 800 }, [500, 450]],
  ["shown smaller and scrolled", { left: -20.5, top: -300, width: 100, height: 100 }, [29.5, -250]],
]) {
  test(`the middle of a canvas is its middle: ${name}`, () => assert.deepEqual(toCanvas(...client, rect), [SIDE / 2, SIDE / 2]));
}

test("a request names the canvas, the pen and the strokes and asks for the frame", () =>
  assert.deepEqual(toRequest([A]), { width: SIDE, height: SIDE, pen: PEN, strokes: [A], frame: true }));
