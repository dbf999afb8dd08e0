// The layers of CurvatureView: a few stand beside the chart, many under it, a line a matrix, so that nothing scrolls
// inside the page.

import { h } from "../base/dom.js";

/** Layers that are listed one below the other. */
const LISTED = 24;

export const layerList = (layers, choose) => {
  const inLines = layers.length > LISTED && layers.every((l) => l.block !== null);
  const item = (l, text) =>
    h("button", {
      type: "button",
      class: "mn-plain",
      "data-name": l.name,
      text,
      title: l.name,
      "aria-label": text === String(l.block) ? `${text}, ${l.matrix}` : null,
      onclick: () => choose(l.name),
    });
  const lineOf = (matrix) =>
    h(
      "div",
      { class: "mn-line", role: "group", "aria-label": matrix },
      h("span", { class: "mn-note", text: matrix }),
      ...layers.filter((l) => l.matrix === matrix).map((l) => item(l, String(l.block))),
    );
  const element = h(
    "div",
    { class: "mn-layers", role: "group", "aria-label": "Layers", "data-testid": "layers" },
    ...(inLines
      ? [...new Set(layers.map((l) => l.matrix))].map(lineOf)
      : layers.map((l, i) => item(l, `${i + 1}. ${l.block === null ? l.name : `block ${l.block}, ${l.matrix}`}`))),
  );
  const mark = (name) => {
    for (const b of element.querySelectorAll("[data-name]"))
      b.setAttribute("aria-pressed", String(b.dataset.name === name));
  };
  return { element, inLines, mark };
};
