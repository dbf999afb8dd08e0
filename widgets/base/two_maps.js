// Two heat maps beside each other, each pointing at the same cell in the other.

import { h } from "./dom.js";
import { HeatMap } from "./heatmap.js";

const BESIDE = 610; // pixels from which there is room for two

/**
 * Maps of two things of one shape. `sides`: for both [label, testids of map and title]; `say(side)` gives what a screen
 * reader hears of a cell, `select(at)` is called for a chosen one.
 */
export const twoMaps = (sides, { say, select }) => {
  const maps = [],
    point = (other) => (at) => {
      const target = maps[other];
      if (target.grid) {
        target.linked = at;
        target.drawOverlay();
      }
    };
  sides.forEach(({ label, testid, name }, i) => {
    maps.push(new HeatMap({ label, testid, name: say(name), select, hover: point(1 - i) }));
  });
  const titles = sides.map(({ title }) => h("h4", { "data-testid": title })),
    boxes = maps.map((map, i) => h("div", {}, titles[i], map.element)),
    element = h("div", { class: "mn-maps" }, ...boxes);
  /** Draw one or two grids in the room that there is; `width` may narrow a single one. */
  const draw = (grids, room, width = room) => {
    const two = grids.length > 1,
      wide = two && room > BESIDE;
    element.classList.toggle("mn-two", wide);
    boxes[1].hidden = !two;
    grids.forEach((grid, i) => {
      maps[i].update(grid, wide ? (room - 24) / 2 : width);
    });
  };
  return { element, maps, titles, draw };
};
