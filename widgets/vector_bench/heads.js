// VectorBench's heads: the map of their effects in one model or two, and those that make the vector.

import { ColourBar } from "../base/colourbar.js";
import { emptyBox, h, section, setText, slide } from "../base/dom.js";
import { button } from "../base/export.js";
import { sideBySide, svgFigure } from "../base/figure.js";
import { absent, largest, many, number, percent, shorten } from "../base/text.js";
import { twoMaps } from "../base/two_maps.js";
import { plus, readMap, same } from "./table.js";

const UNDER = 700; // pixels below which the heads stand under the map
const MOST_HEADS = 60;

export const headPanel = ({ model, root, info, names, bound, push, shown }) => {
  let map = null,
    figure = null;
  const caption = h("div", { class: "mn-caption", "data-testid": "caption" }),
    stale = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true }),
    notes = h("div", { class: "mn-warning", "data-testid": "map-notes", hidden: true }),
    legend = new ColourBar("colour-bar"),
    empty = emptyBox(
      "No head map yet",
      "“Find heads” measures how much each attention head tells the model what the task is. The " +
        "strongest heads’ outputs add up to a vector that can be added to a prompt without any " +
        "demonstration.",
    );
  const chosen = () => (model.get("by_hand") ? model.get("heads") : (model.get("live").heads ?? []));
  const isChosen = (r, c) => chosen().some((x) => same(x, [map.rows[r], map.columns[c]]));
  const values = (r, c) =>
    map.sides.flatMap((side) => {
      const i = map.at(r, c),
        low = map[`${side}_low`],
        p = map[`${side}_p_holm`],
        lead = map.sides.length > 1 ? `${side}: ` : "";
      return [
        [`${lead}effect`, plus(map[side][i])],
        ...(low && !absent(low[i]) ? [[`${lead}95 %`, `${plus(low[i])} to ${plus(map[`${side}_high`][i])}`]] : []),
        ...(p && !absent(p[i]) ? [[`${lead}p (Holm)`, p[i] < 0.001 ? "< 0.001" : number(p[i])]] : []),
      ];
    });
  const say = (side) => (r, c) =>
    map
      ? [
          `layer ${map.rows[r]}, head ${map.columns[c]}`,
          ...(map.sides.length > 1 ? [`map of ${names[side]}`] : []),
          ...values(r, c).map(([k, v]) => `${k} ${v}`),
          isChosen(r, c) ? "chosen" : "not chosen",
        ].join(", ")
      : "";
  const toggle = (head) => {
    const now = chosen(),
      kept = now.filter((x) => !same(x, head));
    push({ by_hand: true, heads: kept.length < now.length ? kept : [...now, head] });
    drawHeads();
  };
  const side = (name, testid, title) => ({
    name,
    testid,
    title,
    label:
      `${names[name]}: effect of every head on the answer’s probability. Arrow keys move, Enter chooses ` +
      `a head or leaves it out.`,
  });
  const pair = twoMaps([side("before", "map", "map-title"), side("after", "after-map", "after-title")], {
    say,
    select: (at) => {
      if (map) toggle([map.rows[at.row], map.columns[at.column]]);
    },
  });

  // --- the heads in the vector
  const chips = h("ul", { class: "mn-chips", "data-testid": "chips" }),
    chipTitle = h("h4", { "data-testid": "chosen-title" }),
    aside = h(
      "div",
      {},
      chipTitle,
      h("p", { class: "mn-note", text: "Click a cell of the map to add a head or to leave it out." }),
      chips,
    ),
    found = h("div", { class: "mn-found" }, pair.element, aside);
  const most = Math.max(1, Math.min(MOST_HEADS, info.layers * info.heads || MOST_HEADS)),
    k = bound(
      "k",
      h("input", { type: "range", min: 1, max: most, step: 1, "aria-label": "Number of strongest heads" }),
    ),
    kText = h("output", { class: "mn-p", "data-testid": "k-text" });
  const topAgain = button(
    "top",
    "Back to the strongest heads",
    () => {
      push({ k: Number(k.value) });
      drawHeads();
    },
    "mn-small",
  );
  const element = section(
    { label: "Heads", title: "Heads that carry the task", beside: [legend.element] },
    empty,
    caption,
    notes,
    stale,
    found,
  );
  const grid = (name, limit) => ({
    rows: map.shape[0],
    columns: map.shape[1],
    rowLabels: map.rows.map(String),
    columnLabels: map.columns.map((c) => ({ text: String(c) })),
    rowTitle: "layer",
    columnTitle: "head",
    flip: true,
    colour: (r, c, theme) => {
      const v = map[name][map.at(r, c)];
      return Number.isNaN(v) ? null : theme.diverging(0.5 + v / limit / 2);
    },
    tip: (r, c) => [
      ["", `layer ${map.rows[r]}, head ${map.columns[c]}`],
      ...values(r, c),
      ["", isChosen(r, c) ? "chosen: Enter or click leaves it out" : "Enter or click chooses it"],
    ],
  });
  const drawHeads = () => {
    const now = chosen(),
      hand = model.get("by_hand");
    topAgain.hidden = !hand || !map;
    setText(chipTitle, `${many(now.length, "head")} in the vector${hand ? ", chosen by hand" : ""}`);
    setText(kText, hand ? `${k.value} (now by hand: ${now.length})` : String(k.value));
    chips.replaceChildren(
      ...now.map(([l, x]) =>
        h(
          "li",
          {},
          h("button", {
            type: "button",
            text: `${l}.${x}`,
            title: `Leave out layer ${l}, head ${x}`,
            "aria-label": `${l}.${x}: leave out layer ${l}, head ${x}`,
            onclick: () => toggle([l, x]),
          }),
        ),
      ),
    );
    if (!map) return;
    for (const heatMap of pair.maps)
      if (heatMap.grid) {
        heatMap.selected = null;
        heatMap.marks = now
          .map(([l, x]) => ({ row: map.rows.indexOf(l), column: map.columns.indexOf(x) }))
          .filter((m) => m.row >= 0 && m.column >= 0);
        heatMap.drawOverlay();
        heatMap.announce();
      }
  };
  const drawStale = () => {
    const now = { ...shown(), task: model.get("task") },
      changed = Object.entries(map.fields)
        .filter(([key, v]) => String(v) !== String(now[key]))
        .map(([key]) => key);
    stale.hidden = !changed.length;
    setText(
      stale,
      `This map was measured with another ` +
        `${changed.join(", ").replace("trials", "number of prompts").replace("shots", "number of demonstrations")}` +
        `; the vector is still made from it. “Find heads” measures anew.`,
    );
  };
  const draw = () => {
    if (!root.isConnected) return;
    empty.hidden = !!map;
    for (const box of [caption, found, legend.element]) box.hidden = !map;
    if (!map) {
      stale.hidden = notes.hidden = true;
      drawHeads();
      return;
    }
    const limit = Math.max(...map.sides.map((s) => largest(map[s]))) || 1,
      room = element.clientWidth || 600,
      under = map.sides.length > 1 || room < UNDER,
      grids = map.sides.map((s) => grid(s, limit));
    found.classList.toggle("mn-under", under);
    pair.draw(grids, room, under ? room : Math.min(room - 250, 620));
    map.sides.forEach((s, i) => {
      const base = absent(map.bases[s]) ? "" : ` · with shuffled labels the answer has ${percent(map.bases[s])}`;
      setText(pair.titles[i], `${names[s]}${base}`);
    });
    setText(
      caption,
      `${map.task}, template ${map.template}, ${many(map.shots, "demonstration")} · mean over ` +
        `${many(map.n, "prompt")}${map.complete ? "" : " · partial"}`,
    );
    setText(notes, map.notes.join(" "));
    notes.hidden = !map.notes.length;
    drawStale();
    const title = "effect on the answer’s probability";
    legend.update({ ramp: pair.maps[0].theme.diverging, low: number(-limit), middle: "0", high: plus(limit), title });
    figure = () =>
      sideBySide(
        map.sides.map((s, i) =>
          svgFigure(grids[i], {
            title: shorten(names[s], 44),
            subtitle: shorten(`${map.task}, ${map.template}, ${map.n} prompts`, 60),
            bar: "effect on p(answer)",
            limit,
          }),
        ),
      );
    drawHeads();
  };
  const read = () => {
    map = readMap(model.get("map"));
    draw();
  };
  const follow = () => {
    if (!model.get("by_hand")) setText(kText, k.value);
  };
  for (const event of ["input", "pulled"]) k.addEventListener(event, follow);
  return {
    element,
    count: slide("Strongest heads ", kText, k),
    topAgain,
    draw,
    drawHeads,
    read,
    follow,
    map: () => map,
    figure: () => figure(),
  };
};
