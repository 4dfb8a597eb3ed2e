/**
 * Draws one stroke on the page in Firefox, by WebDriver BiDi, and prints what the page then shows: node firefox.mjs FIREFOX URL '[[x, y], …]'.
 * FIREFOX: the program. x, y: shares of the pad's side. Prints JSON: { browser, big, title, strokes, inked, errors }, inked: whether ink lies under each point.
 */

import puppeteer from "puppeteer-core";

const [executablePath, url, points] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
try {
  const page = await browser.newPage();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  await page.waitForSelector("#status[data-state=ready]");
  const box = await (await page.$("#pad")).boundingBox();
  const places = JSON.parse(points).map(([x, y]) => [box.x + x * box.width, box.y + y * box.height]);
  await page.mouse.move(...places[0]);
  await page.mouse.down();
  for (const place of places.slice(1)) await page.mouse.move(...place);
  await page.mouse.up();
  await page.waitForSelector("#reading:is([data-kind=sure], [data-kind=unsure], [data-kind=doubtful], [data-kind=ambiguous], [data-kind=not_a_digit])");
  const shown = await page.evaluate((places) => {
    const pad = document.getElementById("pad");
    const { left, top, width } = pad.getBoundingClientRect();
    const ink = ([x, y]) => pad.getContext("2d").getImageData(((x - left) * pad.width) / width, ((y - top) * pad.width) / width, 1, 1).data[3] > 0;
    const text = (id) => document.getElementById(id).textContent;
    return { big: text("big"), title: text("title"), strokes: pad.getAttribute("aria-label"), inked: places.every(ink) };
  }, places);
  console.log(JSON.stringify({ browser: await browser.version(), ...shown, errors }));
} finally {
  await browser.close();
}
