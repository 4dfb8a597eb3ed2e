import assert from "node:assert/strict";
import { test } from "node:test";

import { createInk, drawFrame, drawStrokes } from "../../web/ink.js";
import { PEN } from "../../web/strokes.js";

/** A 2D context that writes down what is called. */
function recorder(width, height) {
  const calls = [];
  const target = { canvas: { width, height } };
  const context = new Proxy(target, {
    get: (_, name) => (name in target ? target[name] : (...values) => void calls.push([name, ...values])),
    set: (_, name, value) => (calls.push([name, value]), (target[name] = value), true),
  });
  const named = (name) => calls.filter(([called]) => called === name).map(([, ...values]) => values);
  return { context, named, forget: () => (calls.length = 0) };
}

const LINE = Array.from({ length: 40 }, (_, k) => [20 + 5 * k, 100, k]);

test("a stroke is a closed outline half a pen beside its points, from its first point to its last", () => {
  const { context, named } = recorder(400, 400);
  drawStrokes(context, [LINE], "blue");
  const points = named("quadraticCurveTo");
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  assert.ok(Math.abs(Math.min(...xs) - (20 - PEN / 2)) < 1 && Math.abs(Math.max(...xs) - (215 + PEN / 2)) < 1);
  assert.ok(Math.abs(Math.min(...ys) - (100 - PEN / 2)) < 1 && Math.abs(Math.max(...ys) - (100 + PEN / 2)) < 1);
  assert.deepEqual([named("closePath").length, named("fill").length], [1, 1]);
});

test("a tap leaves a dot as wide as the pen", () => {
  const { context, named } = recorder(400, 400);
  drawStrokes(context, [[[30, 40, 0]]], "blue");
  assert.deepEqual([named("arc"), named("fill").length], [[[30, 40, PEN / 2, 0, 2 * Math.PI]], 1]);
});

test("canvas units are scaled to the pixels that the screen has", () => {
  const { context, named } = recorder(1000, 1000);
  drawStrokes(context, [], "blue");
  assert.deepEqual(named("setTransform"), [[2.5, 0, 0, 2.5, 0, 0]]);
});

test("finished strokes are outlined once, however often the canvas is drawn", () => {
  const [front, layer] = [recorder(400, 400), recorder(0, 0)];
  const draw = createInk(front.context, layer.context);
  const strokes = [LINE];
  for (let k = 0; k < 5; k += 1) draw(strokes, null, "blue");
  assert.equal(layer.named("fill").length, 1);
  assert.equal(front.named("drawImage").length, 5);
  draw([...strokes, LINE.map(([x, y, t]) => [x, y + 50, t])], null, "blue");
  assert.equal(layer.named("fill").length, 2);
});

test("of a stroke that grows for ever only the last piece is outlined anew", () => {
  const [front, layer] = [recorder(400, 400), recorder(0, 0)];
  const draw = createInk(front.context, layer.context);
  const growing = [];
  for (let k = 0; k < 21_000; k += 1) {
    growing.push([200 + 150 * Math.cos(k / 9), 200 + 150 * Math.sin(k / 9), k]);
    if (k % 500 === 0) draw([], growing, "blue");
  }
  front.forget();
  draw([], growing, "blue");
  assert.equal(front.named("fill").length, 1);
  assert.ok(front.named("quadraticCurveTo").length < 600);
  assert.ok(Math.abs(layer.named("fill").length - 21_000 / 136) < 5);
});

for (const [name, change] of [
  ["undo", ({ strokes }) => [strokes.slice(0, 1), "blue"]],
  ["another theme", ({ strokes }) => [strokes, "white"]],
  ["another drawing", () => [[LINE.slice(0, 9)], "blue"]],
]) {
  test(`all is drawn anew after ${name}`, () => {
    const [front, layer] = [recorder(400, 400), recorder(0, 0)];
    const draw = createInk(front.context, layer.context);
    const strokes = [LINE, LINE.slice(5)];
    draw(strokes, null, "blue");
    layer.forget();
    const [next, colour] = change({ strokes });
    draw(next, null, colour);
    assert.deepEqual([layer.named("fill").length, layer.named("fillStyle")], [next.length, [[colour]]]);
  });
}

test("the model's picture has one pixel a grey, opaque where it is full ink", () => {
  const { context, named } = recorder(28, 28);
  drawFrame(context, [[0, 255], [51, 0]], "blue");
  assert.deepEqual(named("fillRect"), [[0, 0, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]);
  assert.deepEqual(named("globalAlpha"), [[0], [1], [0.2], [0], [1]]);
});
