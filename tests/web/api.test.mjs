import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, test } from "node:test";

import { ApiError, backoff, createReader, predict, retryAfter, findVersions } from "../../web/api.js";

const TICK = () => new Promise((resolve) => setImmediate(resolve));

/** A reader whose requests the test answers and whose clock the test turns. */
function stage({ ready = true } = {}) {
  const sent = []; // { body, signal, answer, fail } of each request; the question for versions has no body
  const shown = [];
  let now_ms = 0;
  let timers = [];
  const request = (body) => ({ signal }) =>
    new Promise((answer, fail) => sent.push({ body, signal, answer, fail })); // deaf to its signal: the reader must not rely on it
  const reader = createReader({
    predict: (body, controller) => request(body)(controller),
    findVersions: request(undefined),
    onAnswer: (answer, { took_ms }) => shown.push(["answer", answer, took_ms]),
    onReady: () => shown.push(["ready"]),
    onProblem: (error, retryIn_s) => shown.push(["problem", error.status, retryIn_s]),
    now: () => now_ms,
    clock: {
      setTimeout: (run, wait_ms) => (timers.push({ run, at_ms: now_ms + wait_ms }), timers.at(-1)),
      clearTimeout: (timer) => (timers = timers.filter((each) => each !== timer)),
    },
  });
  const pass = async (ms) => {
    now_ms += ms;
    const due = timers.filter(({ at_ms }) => at_ms <= now_ms);
    timers = timers.filter(({ at_ms }) => at_ms > now_ms);
    for (const { run } of due) run();
    await TICK();
  };
  const bodies = () => sent.map(({ body }) => body);
  const begin = async () => {
    reader.start();
    sent[0].answer({});
    await pass(1000);
    sent.length = shown.length = 0;
  };
  return { reader, sent, shown, pass, bodies, started: ready ? begin() : null };
}

const away = (retryAfter_s = null) => new ApiError({ status: 503, code: "serving_unavailable", message: "away", retryAfter_s });

test("one request is in flight at most and the latest drawing wins", async () => {
  const { reader, sent, pass, bodies, started } = stage();
  await started;
  for (const body of ["1", "2", "3"]) reader.read(body);
  assert.deepEqual(bodies(), ["1"]);
  sent[0].answer("one");
  await pass(1000);
  assert.deepEqual(bodies(), ["1", "3"]);
});

test("requests keep a distance while the pen moves, the finished drawing is sent at once", async () => {
  const { reader, sent, pass, bodies, started } = stage();
  await started;
  reader.read("1");
  sent[0].answer("one");
  await pass(10);
  reader.read("2");
  assert.deepEqual(bodies(), ["1"]);
  reader.read("2 whole", { final: true });
  assert.deepEqual(bodies(), ["1", "2 whole"]);
});

test("an answer about less ink never comes after the finished drawing's", async () => {
  const { reader, sent, shown, pass, started } = stage();
  await started;
  reader.read("half");
  reader.read("whole", { final: true });
  assert.ok(sent[0].signal.aborted);
  sent[1].answer("of the whole");
  sent[0].answer("of the half");
  await pass(0);
  assert.deepEqual(shown, [["answer", "of the whole", 0]]);
});

test("an answer to a drawing that was cleared is not shown", async () => {
  const { reader, sent, shown, pass, started } = stage();
  await started;
  reader.read("gone");
  reader.forget();
  sent[0].answer("late");
  await pass(1000);
  assert.deepEqual(shown, []);
  assert.ok(sent[0].signal.aborted);
});

test("a drawing that could not be answered is sent again by itself, after the time the server wants", async () => {
  const { reader, sent, shown, pass, bodies, started } = stage();
  await started;
  reader.read("7", { final: true });
  sent[0].fail(away(5));
  await pass(0);
  assert.deepEqual(shown, [["problem", 503, 5]]);
  await pass(4900);
  assert.deepEqual(bodies(), ["7"]);
  await pass(200);
  assert.deepEqual(bodies(), ["7", "7"]);
  sent[1].answer("seven");
  await pass(0);
  assert.deepEqual(shown.at(-1), ["answer", "seven", 0]);
});

test("what is drawn while the server is away waits too, and the newest drawing is sent", async () => {
  const { reader, sent, pass, bodies, started } = stage();
  await started;
  reader.read("old", { final: true });
  sent[0].fail(away(3));
  await pass(0);
  reader.read("new", { final: true });
  await pass(1000);
  assert.deepEqual(bodies(), ["old"]);
  await pass(2100);
  assert.deepEqual(bodies(), ["old", "new"]);
});

test("before the first answer, without a drawing, it asks for versions until the model is there", async () => {
  const { reader, sent, shown, pass, bodies } = stage({ ready: false });
  reader.start();
  sent[0].fail(away());
  await pass(0);
  await pass(1100);
  assert.deepEqual(bodies(), [undefined, undefined]);
  sent[1].answer({});
  await pass(60_000);
  assert.deepEqual(shown, [["problem", 503, 1], ["ready"]]);
  assert.equal(sent.length, 2);
});

test("a drawing that the server refuses is not sent again, the next one is", async () => {
  const { reader, sent, shown, pass, bodies, started } = stage();
  await started;
  reader.read("too large", { final: true });
  sent[0].fail(new ApiError({ status: 413, code: "drawing_too_large", message: "too large" }));
  await pass(60_000);
  assert.deepEqual([shown, bodies()], [[["problem", 413, null]], ["too large"]]);
  reader.read("smaller", { final: true });
  assert.deepEqual(bodies(), ["too large", "smaller"]);
});

test("a server that fails is not stormed while the pen moves", async () => {
  const { reader, sent, pass, bodies, started } = stage();
  await started;
  reader.read("1");
  sent[0].fail(new ApiError({ status: 500, code: "internal", message: "broken" }));
  await pass(0);
  await pass(500);
  reader.read("2");
  await pass(400);
  assert.deepEqual(bodies(), ["1"]);
  await pass(200);
  assert.deepEqual(bodies(), ["1", "2"]);
});

test("trying now does not wait", async () => {
  const { reader, sent, pass, bodies, started } = stage();
  await started;
  reader.read("7", { final: true });
  sent[0].fail(away(30));
  await pass(0);
  reader.retryNow();
  assert.deepEqual(bodies(), ["7", "7"]);
});

test("the wait grows with every failure and is never shorter than the server wants, be it an hour", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 50].map((failures) => backoff(failures, null)), [1, 2, 3, 5, 5, 5]);
  assert.deepEqual([backoff(1, 20), backoff(9, 0.5), backoff(1, 9999)], [20, 5, 9999]);
});

for (const [name, header, wait_s] of [
  ["seconds", "7", 7], ["a date", "Thu, 01 Jan 1970 00:01:30 GMT", 30], ["a date gone by", "Thu, 01 Jan 1970 00:00:10 GMT", 0],
  ["nonsense", "soon", null], ["none", null, null],
]) {
  test(`Retry-After: ${name}`, () => assert.equal(retryAfter(header, 60_000), wait_s));
}

const server = createServer((request, response) => {
  const [status, headers, body] = replies[request.url];
  response.writeHead(status, headers).end(body);
});
const row = ([address, version, state]) => ({ address, version, state });
const replies = {
  "/good/api/v1/predict": [200, {}, '{"digit": 7}'],
  "/away/api/v1/predict": [503, { "Retry-After": "3" }, '{"error": {"code": "serving_unavailable", "message": "away", "request_id": "5f1c"}}'],
  "/proxy/api/v1/predict": [502, { "Content-Type": "text/html" }, "<h1>Bad Gateway</h1>"],
  "/good/api/v1/versions": [200, {}, JSON.stringify({ model: "digits", serving: [["a", 3, "AVAILABLE"], ["a", 2, "END"], ["b", 3, "AVAILABLE"], ["c", 2, "AVAILABLE"]].map(row) })],
  "/away/api/v1/versions": [200, {}, JSON.stringify({ model: "digits", serving: [["a", null, "UNREACHABLE"], ["b", 3, "LOADING"]].map(row) })],
  "/html/api/v1/predict": [200, { "Content-Type": "text/html" }, "<h1>Log in</h1>"],
};
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
after(() => server.close());

/** The browser resolves relative addresses against the page; node has no page. */
const onPage = (path) => {
  const { fetch } = globalThis;
  globalThis.fetch = (address, options) => fetch(new URL(address, `http://127.0.0.1:${server.address().port}${path}`), options);
  return { restore: () => (globalThis.fetch = fetch) };
};

for (const [name, path, expected] of [
  ["the gateway's error", "/away/", { status: 503, code: "serving_unavailable", requestId: "5f1c", retryAfter_s: 3, isTemporary: true }],
  ["a proxy's page", "/proxy/", { status: 502, code: "not_the_gateway", requestId: null, retryAfter_s: null, isTemporary: true }],
  ["a page where an answer should be", "/html/", { status: 502, code: "another_page", isTemporary: false }],
]) {
  test(`a reply becomes an error: ${name}`, async () => {
    const page = onPage(path);
    const error = await predict({}, new AbortController()).catch((thrown) => thrown);
    page.restore();
    for (const [field, value] of Object.entries(expected)) assert.equal(error[field], value, field);
  });
}

test("an answer is fetched from under the page's own path", async () => {
  const page = onPage("/good/");
  assert.deepEqual(await predict({}, new AbortController()), { digit: 7 });
  page.restore();
});

test("versions that can answer are named once each", async () => {
  const page = onPage("/good/");
  assert.deepEqual(await findVersions(new AbortController()), { name: "digits", versions: [2, 3] });
  page.restore();
});

test("a model that is not loaded yet is as good as away", async () => {
  const page = onPage("/away/");
  const error = await findVersions(new AbortController()).catch((thrown) => thrown);
  page.restore();
  assert.deepEqual([error.status, error.code, error.isTemporary], [503, "no_version_available", true]);
});

test("nobody there is no connection", async () => {
  const { fetch } = globalThis;
  globalThis.fetch = () => Promise.reject(new TypeError("fetch failed"));
  const error = await findVersions(new AbortController()).catch((thrown) => thrown);
  globalThis.fetch = fetch;
  assert.deepEqual([error.status, error.code, error.isTemporary], [0, "no_connection", true]);
});
