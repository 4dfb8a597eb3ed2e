/** The model card as a page to read: what the version that answers now says of itself. */

import { drawDiagram, readBins } from "./proof.js";
import { WORDS, describeAmbiguous, describeModel, describeRange } from "./words.js";

const byId = (id) => document.getElementById(id);
const language = document.documentElement.lang;
const share = (value) => `${(value * 100).toFixed(2)}\u202f%`;
const setting = (value) => `${Number((value * 100).toFixed(2))}\u202f%`; // a share that was chosen, not measured
const figure = (value) => (Number.isInteger(value) ? value.toLocaleString(language) : `${Number(value.toPrecision(4))}`);

async function show() {
  const response = await fetch(`../../api/v1/card${location.search}`, { cache: "no-store" });
  const card = await response.json();
  if (!response.ok) throw new Error(card.error.message);
  byId("title").textContent = describeModel({ name: card.model, version: card.version });
  fill(byId("facts"), factsOf(card));
  fill(byId("metrics"), metricsOf(card.metrics ?? {}));
  const bins = readBins(card).filter(({ count }) => count > 0);
  byId("reliability").hidden = bins.length === 0;
  document.querySelector(".diagram").prepend(drawDiagram(bins));
  for (const { low, high, count, accuracy } of bins) addRow(byId("bins"), describeRange(low, high), count.toLocaleString(language), share(accuracy));
  byId("status").hidden = true;
  byId("card").hidden = false;
}

const factsOf = ({ recipe, threshold, prior, ambiguous, ink_version }) => ({
  recipe,
  threshold: threshold && figure(threshold),
  prior: prior && setting(prior),
  ambiguous: ambiguous && describeAmbiguous(setting(ambiguous.max_probability), setting(ambiguous.min_pair)),
  ink_version,
});

function metricsOf(metrics) {
  const numbers = Object.entries(metrics).filter(([, value]) => typeof value === "number" || Array.isArray(value));
  const text = (name, value) => (Array.isArray(value) ? value.join(", ") : name.endsWith("accuracy") ? share(value) : figure(value));
  return Object.fromEntries(numbers.map(([name, value]) => [name, text(name, value)]));
}

/** Put values into the rows of their names. What a card does not have is left out, what the page does not know stands under its own name. */
function fill(body, values) {
  for (const row of [...body.rows]) {
    const { name } = row.dataset;
    if (values[name] === undefined) row.remove();
    else row.insertCell().textContent = values[name];
    delete values[name];
  }
  for (const [name, value] of Object.entries(values)) if (value !== undefined) addRow(body, name.replaceAll("_", " "), value);
}

function addRow(body, name, ...values) {
  const row = body.insertRow();
  row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
  for (const value of values) row.insertCell().textContent = value;
}

show().catch((error) => (byId("status").textContent = WORDS.noCard(error.message)));
