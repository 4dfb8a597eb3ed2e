import assert from "node:assert/strict";
import { test } from "node:test";

import { drawFrame, drawInk } from "../../web/ink.js";
import { PEN } from "../../web/strokes.js";

/** A 2D context that writes down what it is told. */
function recorder(width, height) {
  const calls = [];
  const target = { canvas: { width, height } };
  const context = new Proxy(target, {
    get: (_, name) => (name in target ? target[name] : (...values) => void calls.push([name, ...values])),
    set: (_, name, value) => (calls.push([name, value]), (target[name] = value), true),
  });
  const named = (name) => calls.filter(([called]) => called === name).map(([, ...values]) => values);
  return { context, named };
}

test("a line begins and ends exactly where the pen did", () => {
  const { context, named } = recorder(400, 400);
  drawInk(context, [[[10, 10, 0], [50, 20, 1], [90, 80, 2]]], "blue");
  assert.deepEqual(named("moveTo"), [[10, 10]]);
  assert.deepEqual(named("quadraticCurveTo"), [[50, 20, 70, 50]]);
  assert.deepEqual(named("lineTo"), [[90, 80]]);
});

test("a tap leaves a dot as wide as the pen", () => {
  const { context, named } = recorder(400, 400);
  drawInk(context, [[[30, 40, 0]]], "blue");
  assert.deepEqual([named("arc"), named("fill").length], [[[30, 40, PEN / 2, 0, 2 * Math.PI]], 1]);
});

test("canvas units are scaled to the pixels that the screen has", () => {
  const { context, named } = recorder(1000, 1000);
  drawInk(context, [], "blue");
  assert.deepEqual(named("setTransform").at(-1), [2.5, 0, 0, 2.5, 0, 0]);
  assert.deepEqual(named("clearRect"), [[0, 0, 1000, 1000]]);
});

test("the model's picture has one pixel a grey, opaque where it is full ink", () => {
  const { context, named } = recorder(28, 28);
  drawFrame(context, [[0, 255], [51, 0]], "blue");
  assert.deepEqual(named("fillRect"), [[0, 0, 1, 1], [1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]]);
  assert.deepEqual(named("globalAlpha"), [[0], [1], [0.2], [0], [1]]);
});
