import assert from "node:assert/strict";
import { test } from "node:test";

import { EXAMPLES } from "../../web/examples.js";
import { createReplay } from "../../web/replay.js";
import { SIDE } from "../../web/strokes.js";

const STROKES = [[[1, 1, 0], [2, 2, 40], [3, 3, 80]], [[9, 9, 500], [8, 8, 540]]];

function stage() {
  let now_ms = 1000;
  let frame = null;
  const grown = [];
  const ended = [];
  const replay = createReplay(STROKES, {
    onGrow: (stroke) => grown.push(stroke.length),
    onEnd: (strokes) => ended.push(strokes),
    requestFrame: (run) => (frame = run),
    now: () => now_ms,
  });
  const pass = (ms) => {
    now_ms += ms;
    frame();
  };
  return { replay, grown, ended, pass };
}

test("every point comes at the time at which it was drawn, after the pauses too", () => {
  const { replay, grown, ended, pass } = stage();
  pass(0);
  pass(39);
  assert.deepEqual(grown, [1]);
  pass(41);
  assert.deepEqual([grown, replay.strokes], [[1, 3], [STROKES[0]]]);
  pass(419);
  assert.deepEqual([grown, ended], [[1, 3], []]);
  pass(41);
  assert.deepEqual([grown, ended], [[1, 3, 2], [STROKES]]);
});

test("a slow screen misses no point", () => {
  const { ended, pass } = stage();
  pass(9000);
  assert.deepEqual(ended, [STROKES]);
});

test("stopped, it leaves what was drawn, and nothing follows", () => {
  const { replay, grown, ended, pass } = stage();
  pass(45);
  replay.stop();
  pass(9000);
  replay.stop();
  assert.deepEqual([grown, ended], [[2], [[STROKES[0].slice(0, 2)]]]);
});

for (const [name, strokes] of Object.entries(EXAMPLES)) {
  test(`the example ${name} is a drawing: on the canvas, its times never going back`, () => {
    const points = strokes.flat();
    assert.ok(points.length > 40);
    assert.ok(points.every(([x, y]) => x > 20 && x < SIDE - 20 && y > 20 && y < SIDE - 20));
    assert.ok(points.every(([, , t_ms], k) => k === 0 || t_ms > points[k - 1][2]));
  });
}
