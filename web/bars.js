/** Ten bars, one a digit: how likely the model holds each. */

import { percent } from "./words.js";

/** list: the <ol> to fill. Returns { show(answer), rest() }. */
export function createBars(list) {
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const bar = document.createElement("li");
    bar.innerHTML = `
      <span class="bar-plot" role="meter" aria-label="Digit ${digit}" aria-valuemin="0" aria-valuemax="100">
        <span class="bar-fill"></span><span class="bar-percent"></span>
      </span>
      <span class="bar-digit" aria-hidden="true">${digit}</span>`;
    list.append(bar);
    return { bar, plot: bar.querySelector(".bar-plot"), label: bar.querySelector(".bar-percent") };
  });

  function set({ bar, plot, label }, share, chosen) {
    bar.classList.toggle("is-chosen", chosen);
    bar.style.setProperty("--share", share ?? 0);
    plot.setAttribute("aria-valuenow", Math.round((share ?? 0) * 100));
    plot.setAttribute("aria-valuetext", share === null ? "no answer" : percent(share));
    label.textContent = share === null ? "" : percent(share);
  }

  const rest = () => bars.forEach((bar) => set(bar, null, false));
  rest();
  return {
    show: ({ probabilities, candidates }) => bars.forEach((bar, digit) => set(bar, probabilities[digit], candidates.includes(digit))),
    rest,
  };
}
