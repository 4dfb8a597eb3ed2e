/** A drawing that draws itself, each point at the time at which it was drawn. */

/**
 * strokes: what to draw. onGrow(stroke): the stroke that grows now, the same array until it is finished. onEnd(strokes): all is drawn, or it was stopped.
 * Returns { strokes, stop }: the finished strokes so far.
 */
export function createReplay(strokes, { onGrow, onEnd, requestFrame = requestAnimationFrame, now = () => performance.now() }) {
  const begin_ms = now() - strokes[0][0][2];
  const replay = { strokes: [], stop };
  let growing = [];
  let ended = false;

  function tick() {
    if (ended) return;
    const time_ms = now() - begin_ms;
    while (replay.strokes.length < strokes.length) {
      const stroke = strokes[replay.strokes.length];
      const before = growing.length;
      while (growing.length < stroke.length && stroke[growing.length][2] <= time_ms) growing.push(stroke[growing.length]);
      if (growing.length > before) onGrow(growing);
      if (growing.length < stroke.length) break;
      replay.strokes = [...replay.strokes, growing];
      growing = [];
    }
    if (replay.strokes.length === strokes.length) stop();
    else requestFrame(tick);
  }

  function stop() {
    if (ended) return;
    ended = true;
    onEnd(growing.length > 0 ? [...replay.strokes, growing] : replay.strokes);
  }

  requestFrame(tick);
  return replay;
}
