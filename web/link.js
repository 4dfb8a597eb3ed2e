/**
 * A drawing as text for an address's fragment, which browsers do not send to servers: at most MOST_CHARACTERS of base64url.
 *
 * Bytes: FORMAT, then for each stroke the number of its points and for each point x, y (half canvas units) and t (4 ms), each as the difference to the point
 * before, in variable length: 7 bits a byte, the lowest first, the sign in the lowest bit. A digit takes 300 to 800 characters.
 */

import { SIDE, countPoints, thinned } from "./strokes.js";

export const MOST_CHARACTERS = 2_000;
const FORMAT = 1;
const UNIT = 0.5;
const TICK_MS = 4;
const MOST_MS = 600_000; // of a drawing that a link may replay

/** The text of a drawing. One with more points than fit is thinned. */
export function encode(strokes) {
  for (let most = countPoints(strokes); ; most = Math.floor(most * 0.8)) {
    const text = toText(toBytes(thinned(strokes, most)));
    if (text.length <= MOST_CHARACTERS) return text;
    if (most < 2 * strokes.length) strokes = strokes.slice(0, Math.floor(strokes.length * 0.8)); // hundreds of dots: their last ones do not fit
  }
}

/** The drawing in a text; null where it is not the text of one. */
export function decode(text) {
  const bytes = fromText(text);
  if (bytes?.[0] !== FORMAT) return null;
  const values = numbers(bytes.subarray(1));
  const strokes = [];
  let [x, y, t] = [0, 0, 0];
  while (values.length > 0) {
    const count = values.shift();
    if (!(count > 0) || values.length < 3 * count) return null;
    const stroke = [];
    for (let k = 0; k < count; k += 1) {
      [x, y, t] = [x + values.shift(), y + values.shift(), t + values.shift()];
      const point = [x * UNIT, y * UNIT, t * TICK_MS];
      if (point.slice(0, 2).some((value) => value < -SIDE || value > 2 * SIDE) || point[2] < 0 || point[2] > MOST_MS) return null;
      stroke.push(point);
    }
    strokes.push(stroke);
  }
  return strokes.length > 0 ? strokes : null;
}

function toBytes(strokes) {
  const bytes = [FORMAT];
  let last = [0, 0, 0];
  for (const stroke of strokes) {
    write(bytes, stroke.length);
    for (const [x, y, t_ms] of stroke) {
      const point = [Math.round(x / UNIT), Math.round(y / UNIT), Math.round(t_ms / TICK_MS)];
      point.forEach((value, k) => write(bytes, value - last[k]));
      last = point;
    }
  }
  return bytes;
}

function write(bytes, value) {
  let rest = value < 0 ? -2 * value - 1 : 2 * value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
}

function numbers(bytes) {
  const values = [];
  let [value, scale] = [0, 1];
  for (const byte of bytes) {
    value += (byte % 128) * scale;
    scale *= 128;
    if (byte > 127) continue;
    values.push(value % 2 === 0 ? value / 2 : -(value + 1) / 2);
    [value, scale] = [0, 1];
  }
  return values;
}

const toText = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function fromText(text) {
  try {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}
