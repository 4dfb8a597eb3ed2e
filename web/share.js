/** A drawing to send: as a link that replays it, and as a picture. Each function says in a sentence what it did. */

import { drawStrokes } from "./ink.js";
import { encode } from "./link.js";
import { WORDS, describeAnswer, describeModel, describePicture } from "./words.js";

export const PICTURE = { width: 1200, height: 630 };
const PAPER_PX = 510;
const LEFT_PX = 60; // of the paper
const TEXT_PX = 640; // where the words begin
const SANS = "system-ui, sans-serif";
const SERIF = "Charter, Georgia, serif";

/** Put the strokes into the address's fragment and the address on the clipboard. */
export async function copyLink(strokes) {
  history.replaceState(null, "", `#d=${encode(strokes)}`);
  try {
    await navigator.clipboard.writeText(location.href);
    return WORDS.linkCopied;
  } catch {
    return WORDS.linkInAddress;
  }
}

/** Put a PNG of ink, answer and version on the clipboard, or into the downloads where the browser does not let it. */
export async function copyPicture(strokes, answer) {
  const blob = new Promise((resolve) => drawPicture(strokes, answer).toBlob(resolve, "image/png"));
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
    return WORDS.pictureCopied;
  } catch {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await blob);
    link.download = WORDS.pictureFile;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    return WORDS.pictureSaved;
  }
}

/** A canvas with the picture, in the colours of the page's light scheme whatever the scheme is. */
export function drawPicture(strokes, answer) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, PICTURE);
  const context = canvas.getContext("2d");
  const colours = { desk: "#eaeef2", paper: "#fefefe", rule: "#dbe5f1", edge: "#c9d3df", text: "#182030", quiet: "#546077", ink: "#2438b0" };
  context.fillStyle = colours.desk;
  context.fillRect(0, 0, canvas.width, canvas.height);
  drawPaper(context, strokes, colours);
  const { kind, big, title, note } = describeAnswer(answer);
  const isShort = big.length < 3;
  const below_px = big ? 400 : 290;
  context.fillStyle = kind === "doubtful" ? colours.quiet : colours.ink;
  context.font = `${isShort ? 260 : 120}px ${SERIF}`;
  context.fillText(big, TEXT_PX, isShort ? 330 : 300);
  context.fillStyle = colours.text;
  const lines = write(context, title, below_px, `48px ${SERIF}`, 56);
  context.fillStyle = colours.quiet;
  write(context, note, below_px + lines * 56 + 6, `27px ${SANS}`, 36);
  context.font = `24px ${SANS}`;
  context.fillText(describePicture(describeModel(answer.model), location.host), TEXT_PX, 565);
  return canvas;
}

function drawPaper(context, strokes, { paper, rule, edge, ink }) {
  const top = (PICTURE.height - PAPER_PX) / 2;
  context.fillStyle = paper;
  context.fillRect(LEFT_PX, top, PAPER_PX, PAPER_PX);
  context.fillStyle = rule;
  for (let k = 1; k < 14; k += 1) {
    const at = Math.round((PAPER_PX * k) / 14);
    context.fillRect(LEFT_PX + at, top, 1, PAPER_PX);
    context.fillRect(LEFT_PX, top + at, PAPER_PX, 1);
  }
  context.strokeStyle = edge;
  context.strokeRect(LEFT_PX - 0.5, top - 0.5, PAPER_PX + 1, PAPER_PX + 1);
  const sheet = document.createElement("canvas");
  sheet.width = sheet.height = PAPER_PX;
  drawStrokes(sheet.getContext("2d"), strokes, ink);
  context.drawImage(sheet, LEFT_PX, top);
}

/** Text in lines that fit beside the paper. Returns how many. */
function write(context, text, top_px, font, line_px) {
  context.font = font;
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length > 0 ? `${lines.at(-1)} ${word}` : word;
    if (lines.length > 0 && context.measureText(longer).width <= PICTURE.width - TEXT_PX - LEFT_PX / 2) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  lines.forEach((line, k) => context.fillText(line, TEXT_PX, top_px + k * line_px));
  return lines.length;
}
