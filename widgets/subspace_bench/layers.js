// What SubspaceBench's edit takes from each layer: a map that arrow keys walk.

import { PAGE_COLOURS } from "../base/charts.js";
import { themeOf } from "../base/colour.js";
import { h, section, setText } from "../base/dom.js";
import { absent, share, short } from "../base/text.js";
import { KINDS, layerMap } from "./charts.js";

export const layerPanel = (root) => {
  let found = null,
    at = 0,
    cursor = -1;
  const map = h("div", {
      class: "mn-chart",
      tabindex: "0",
      role: "group",
      "data-testid": "layers",
      "aria-label": "Layer map; arrow keys read its cells",
    }),
    cell = h("div", { class: "mn-note", "data-testid": "cell", role: "status" }),
    title = h("h3", {}),
    element = section({ label: "Layer map", title }, map, cell);
  const draw = () => {
    if (!found) return;
    const { unit, taken } = KINDS[found.kind],
      { grid } = found;
    setText(
      title,
      at
        ? `What the edit takes from each layer, ${unit} ${short(found.strengths[at - 1])}`
        : "What the edit takes from each layer: nothing yet",
    );
    map.hidden = cell.hidden = !at || !grid.matrices.length;
    if (map.hidden) return;
    const focused = document.activeElement === map ? cursor : -1,
      shares = found.cellsAt(at),
      there = shares.filter((v) => !absent(v)),
      layers = grid.names.flat().filter(Boolean);
    map.replaceChildren(layerMap(PAGE_COLOURS, found, at, themeOf(root), (root.clientWidth || 900) - 30, focused));
    if (layers.length === 1) {
      map.hidden = true;
      setText(cell, `The edit is in one layer, ${layers[0]}: it takes ${share(there[0])} of its ${taken}.`);
      return;
    }
    const size = grid.blocks.length,
      name = cursor >= 0 ? grid.names[Math.floor(cursor / size)]?.[cursor % size] : "";
    setText(
      cell,
      `A column a block; % of the layer’s ${taken}, strongest shade ${share(Math.max(...there))}.` +
        `${name ? ` ${name}: ${share(shares[cursor])}.` : ""}`,
    );
  };
  map.onkeydown = (e) => {
    const size = found?.grid.blocks.length,
      step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -size, ArrowDown: size }[e.key];
    if (!step || !found) return;
    e.preventDefault();
    e.stopPropagation();
    const next = cursor < 0 ? 0 : cursor + step;
    if (next >= 0 && next < size * found.grid.matrices.length) cursor = next;
    draw();
  };
  map.onfocus = () => {
    if (cursor < 0) cursor = 0;
    draw();
  };
  map.onblur = draw;
  map.addEventListener("click", (e) => {
    const there = e.target.closest("[data-cell]");
    if (there) {
      cursor = Number(there.dataset.cell);
      draw();
    }
  });
  /** Show a curve at a place of its slider. */
  const show = (curve, place) => {
    [found, at] = [curve, place];
    draw();
  };
  return { element, show, draw };
};
