// InjectionBench's maps: every layer and strength, for the memory and for a control.

import { ColourBar } from "../base/colourbar.js";
import { emptyBox, h, option, section, setText } from "../base/dom.js";
import { button } from "../base/export.js";
import { sideBySide, svgFigure } from "../base/figure.js";
import { absent, largest, number, shorten, visible } from "../base/text.js";
import { twoMaps } from "../base/two_maps.js";
import { chance, gain, plain, readMap } from "./numbers.js";

export const mapPanel = ({ model, root, controls, error, push, shown }) => {
  let map = null,
    figure = null;
  const caption = h("div", { class: "mn-caption", "data-testid": "caption" }),
    stale = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true }),
    scale = h(
      "select",
      { "data-testid": "scale", "aria-label": "Colour scale", onchange: () => draw() },
      option("gain", "scale: largest gain, at least 1 nat"),
      option("all", "scale: largest change"),
    ),
    legend = new ColourBar("colour-bar"),
    toolbar = h("div", { class: "mn-toolbar" }, scale, legend.element),
    empty = emptyBox(
      "No map yet",
      "Run injects the memory, and beside it a control, at every layer with every strength, and shows " +
        "how far the answer’s log-probability moves. A cell can be clicked as soon as it is there: the " +
        "sliders go to it.",
    );
  const values = (r, c) => {
    const i = map.at(r, c),
      lines = [["memory", `${gain(map.memory[i])} nats`]];
    if (map.control)
      lines.push(
        ["control", `${gain(map.control[i])} nats`],
        ["memory − control", `${gain(map.memory[i] - map.control[i])} nats`],
      );
    lines.push(["answer", chance(map.base + map.memory[i])]);
    if (map.memory_top?.[i]) lines.push(["most likely", visible(map.memory_top[i])]);
    return lines;
  };
  const place = (r, c) => `layer ${map.rows[r]}, strength ${plain(map.columns[c])}`;
  const side = (name, testid, title, words) => ({
    name,
    testid,
    title,
    label:
      `${words}: change of the answer’s log-probability by layer and strength. Arrow keys move, Enter ` +
      `sets the sliders.`,
  });
  const pair = twoMaps(
    [side("memory", "map", "map-title", "Memory"), side("control", "control-map", "control-title", "Control")],
    {
      say: (which) => (r, c) =>
        map ? [place(r, c), `${which} map`, ...values(r, c).map(([k, v]) => `${k} ${v}`)].join(", ") : "",
      select: (at) => {
        if (map) push({ layer: map.rows[at.row], strength: map.columns[at.column] });
      },
    },
  );
  const element = section(
    { label: "Maps", title: "Every layer and strength" },
    controls,
    error,
    empty,
    caption,
    stale,
    toolbar,
    pair.element,
  );
  const grid = (which, limit) => ({
    rows: map.shape[0],
    columns: map.shape[1],
    rowLabels: map.rows.map(String),
    columnLabels: map.columns.map((s) => ({ text: plain(s) })),
    rowTitle: "layer",
    columnTitle: map.axis,
    flip: true,
    colour: (r, c, theme) => {
      const v = map[which][map.at(r, c)];
      return Number.isNaN(v) ? null : theme.diverging(0.5 + v / limit / 2);
    },
    tip: (r, c) => [["", place(r, c)], ...values(r, c)],
  });
  const drawStale = (now) => {
    const changed = Object.entries(map.fields)
      .filter(([k, v]) => String(v) !== String(now[k]))
      .map(([k]) => k);
    stale.hidden = !changed.length;
    stale.replaceChildren(
      `These maps were computed with another ${changed.join(", ")}. `,
      button("restore", "Back to the maps’ question", () => push(map.fields), "mn-small"),
    );
  };
  /** The largest number of the colour scale, and whether numbers lie beyond it. */
  const scaled = (arrays) => {
    const size = Math.max(...arrays.map(largest)) || 1,
      best = Math.max(0, ...arrays.map((a) => largest(a.map((v) => Math.max(v, 0))))),
      limit = scale.value === "gain" ? Math.max(1, best) : size;
    return [limit, size > limit * 1.0001];
  };
  const draw = () => {
    if (!root.isConnected) return;
    empty.hidden = !!map;
    for (const box of [caption, toolbar, pair.element]) box.hidden = !map;
    if (!map) {
      stale.hidden = true;
      return;
    }
    const sides = ["memory", "control"].filter((which) => map[which]),
      [limit, cut] = scaled(sides.map((which) => map[which])),
      titles = [`memory: ${visible(map.memory_name)}`, `control: ${map.control_what}`],
      grids = sides.map((which) => grid(which, limit)),
      now = shown(),
      at = { row: map.rows.indexOf(now.layer), column: map.columns.indexOf(now.strength) };
    pair.draw(grids, element.clientWidth || 600);
    grids.forEach((_, i) => {
      const heatMap = pair.maps[i];
      heatMap.selected = at.row >= 0 && at.column >= 0 ? at : null;
      heatMap.drawOverlay();
      heatMap.announce();
    });
    titles.forEach((text, i) => {
      setText(pair.titles[i], text);
    });
    setText(
      caption,
      `${map.what} · answer ${visible(map.answer)}, unedited ${chance(map.base)} (${number(map.base)} ` +
        `nats)` +
        (absent(map.single) ? "" : `; after “${visible(map.explicit).replace(/·/g, " ")}” ${chance(map.single)}`) +
        `${map.complete ? "" : " · partial"}`,
    );
    drawStale(now);
    const title = "change of the answer’s log-probability (nats)",
      low = `${cut ? "≤ " : ""}${number(-limit)}`;
    legend.update({ ramp: pair.maps[0].theme.diverging, low, middle: "0", high: gain(limit), title });
    figure = () =>
      sideBySide(
        grids.map((one, i) =>
          svgFigure(one, {
            title: shorten(titles[i], 44),
            subtitle: shorten(`${map.model}: ${map.what}; answer ${visible(map.answer)}`, 64),
            bar: "change of ln p (nats)",
            limit,
            low,
          }),
        ),
      );
  };
  const read = () => {
    map = readMap(model.get("map"));
    draw();
  };
  return { element, draw, read, map: () => map, figure: () => figure() };
};
