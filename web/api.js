/**
 * Talking with the gateway: three calls, one kind of error, and a reader that keeps the answer up to date.
 *
 * Addresses are relative to the page, so it works under any sub-path.
 */

import { WORDS } from "./words.js";

/** A request that brought no answer. status 0: nothing came back. retryAfter_s: how long the server wants us to wait, else null. */
export class ApiError extends Error {
  constructor({ status, code, message, requestId = null, retryAfter_s = null }) {
    super(message);
    Object.assign(this, { name: "ApiError", status, code, requestId, retryAfter_s });
  }

  /** Whether the same request may well succeed a little later. */
  get isTemporary() {
    return [0, 408, 429, 502, 503, 504].includes(this.status) && this.code !== "another_page";
  }
}

/** Ask what a drawing shows. body: canvas JSON. Returns the answer; throws ApiError. */
export const predict = (body, { signal }) =>
  call("api/v1/predict", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

/** Ask which versions of the model answer now. Returns { name, versions: [1, …] }, at least one; throws ApiError. */
export async function findVersions({ signal }) {
  const { model, serving } = await call("api/v1/versions", { signal });
  const versions = serving.filter(({ state }) => state === "AVAILABLE").map(({ version }) => version);
  if (versions.length > 0) return { name: model, versions: [...new Set(versions)].sort((a, b) => a - b) };
  throw new ApiError({ status: 503, code: "no_version_available", message: WORDS.noVersion });
}

/** What a version of the model says of itself. Throws ApiError. */
export const fetchCard = (version, { signal = new AbortController().signal } = {}) => call(`api/v1/card?version=${version}`, { signal });

const TIMEOUT_S = 15; // longer than the deadline of the gateway: only a dead connection takes so long

async function call(path, { signal, ...options }) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), TIMEOUT_S * 1000);
  signal.addEventListener("abort", () => limit.abort(), { once: true });
  try {
    const response = await fetch(path, { ...options, signal: limit.signal, cache: "no-store" });
    const text = await response.text();
    const json = parse(text);
    if (response.ok && json !== null) return json;
    throw new ApiError({
      status: response.ok ? 502 : response.status,
      code: json?.error?.code ?? (response.ok ? "another_page" : "not_the_gateway"), // a sign-in page, the page of a proxy
      message: json?.error?.message ?? WORDS.status(response.status),
      requestId: json?.error?.request_id ?? response.headers.get("X-Request-ID"),
      retryAfter_s: retryAfter(response.headers.get("Retry-After")),
    });
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
    throw new ApiError({ status: 0, code: "no_connection", message: WORDS.unreachable });
  } finally {
    clearTimeout(timer);
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Seconds from a Retry-After header: a number of seconds or a date (RFC 9110, 10.2.3). */
export function retryAfter(header, now_ms = Date.now()) {
  if (!header) return null;
  const wait_s = /^\s*\d+\s*$/.test(header) ? Number(header) : (Date.parse(header) - now_ms) / 1000;
  return Number.isFinite(wait_s) ? Math.max(0, wait_s) : null;
}

const INTERVAL_MS = 90; // between two requests while the pen moves: quick enough to feel live, 11 requests/s at most
const BACKOFF_S = [1, 2, 3, 5];
const LONGEST_S = 24 * 3600; // however long the server asks us to wait; timers end at 24 days

/** Seconds until the next try after so many failures in a row, never sooner than the server wants. */
export const backoff = (failures, retryAfter_s) => Math.min(LONGEST_S, Math.max(retryAfter_s ?? 0, BACKOFF_S[Math.min(failures, BACKOFF_S.length) - 1]));

/**
 * Keeps one answer up to date: at most one request in flight, the latest drawing wins, an answer that is no longer wanted is never shown,
 * and what could not be answered is sent again by itself. Without a drawing it asks which versions are served until the model is there.
 *
 * predict(drawing, { signal }): asks for an answer to a drawing in whatever form `read` has it. onAnswer(answer, { took_ms, isLatest }), isLatest: no newer drawing waits. onReady(versions), onProblem(ApiError, retryIn_s | null).
 * Returns { start, ready, read, forget, retryNow }.
 */
export function createReader({ predict, findVersions, onAnswer, onReady, onProblem, clock = globalThis, now = () => performance.now() }) {
  let wanted = null; // the drawing to send next
  let flight = null; // AbortController of the request under way
  let notBefore_ms = -Infinity;
  let failures = 0;
  let ready = false; // the last request was answered
  let timer = null;

  /** Send what is wanted as soon as it may be sent. */
  function pump() {
    clock.clearTimeout(timer);
    if (flight || (wanted === null && ready)) return;
    const wait_ms = notBefore_ms - now();
    if (wait_ms > 0) timer = clock.setTimeout(pump, wait_ms);
    else send();
  }

  async function send() {
    const body = wanted;
    const mine = new AbortController();
    const sentAt_ms = now();
    wanted = null;
    flight = mine;
    if (body) notBefore_ms = sentAt_ms + INTERVAL_MS;
    try {
      const reply = await (body ? predict(body, mine) : findVersions(mine));
      if (flight !== mine) return;
      flight = null;
      failures = 0;
      ready = true;
      if (body) onAnswer(reply, { took_ms: now() - sentAt_ms, isLatest: wanted === null });
      else onReady(reply);
    } catch (error) {
      if (flight !== mine) return;
      flight = null;
      failed(error, body);
    }
    pump();
  }

  function failed(error, body) {
    if (!(error instanceof ApiError)) throw error;
    failures += 1;
    const wait_s = backoff(failures, error.retryAfter_s);
    notBefore_ms = now() + wait_s * 1000;
    ready = !error.isTemporary; // else the same drawing would fail the same, so the next one is sent
    if (error.isTemporary) wanted ??= body;
    onProblem(error, error.isTemporary ? wait_s : null);
  }

  function drop() {
    wanted = null;
    const dropped = flight;
    flight = null; // first, so that its end is no longer ours
    dropped?.abort();
  }

  return {
    start: pump,
    /** Whether requests get through, as far as known. */
    ready: () => ready,
    /** Read this drawing. final: the pen is up, so do not wait for an answer about less ink. */
    read(body, { final = false } = {}) {
      if (final && ready) {
        drop();
        notBefore_ms = -Infinity;
      }
      wanted = body;
      pump();
    },
    /** The drawing is gone: whatever is under way or waiting is no longer wanted. */
    forget() {
      drop();
      pump();
    },
    /** Do not wait for the next try. body: read this, where nothing waits. */
    retryNow(body = null) {
      wanted ??= body;
      notBefore_ms = -Infinity;
      pump();
    },
  };
}
