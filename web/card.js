/** The model card as a page to read: what the version that answers now says of itself. */

import { drawDiagram, readBins } from "./proof.js";
import { CARD } from "./words-later.js";

const main = document.getElementById("card");

async function show() {
  const response = await fetch(`../../api/v1/card${location.search}`, { cache: "no-store" });
  const card = await response.json();
  if (!response.ok) throw new Error(card.error.message);
  main.replaceChildren(
    make("h2", CARD.title(card)),
    make("p", CARD.introduction),
    table(CARD.facts(card)),
    make("h2", CARD.metricsTitle),
    make("p", CARD.metricsNote),
    table(CARD.metrics(card.metrics ?? {})),
  );
  const bins = readBins(card);
  if (bins.length === 0) return;
  const figure = make("figure");
  figure.className = "diagram";
  figure.append(drawDiagram(bins), make("figcaption", CARD.diagramNote));
  main.append(make("h2", CARD.diagramTitle), figure, table(bins.filter(({ count }) => count > 0).map(CARD.bin), CARD.binHeads));
}

/** rows: [[name, value, …], …]; the first cell of each is its head. */
function table(rows, heads = null) {
  const made = make("table");
  if (heads) {
    const row = made.createTHead().insertRow();
    for (const text of heads) row.append(Object.assign(make("th", text), { scope: "col" }));
  }
  const body = made.createTBody();
  for (const [name, ...values] of rows) {
    const row = body.insertRow();
    row.append(Object.assign(make("th", name), { scope: "row" }), ...values.map((value) => make("td", value)));
  }
  return made;
}

function make(name, text = "") {
  return Object.assign(document.createElement(name), { textContent: text });
}

show().catch((error) => main.replaceChildren(make("p", CARD.missing(error.message))));
