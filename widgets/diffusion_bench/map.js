// DiffusionBench's map: where and when the two sets differ, layer by step.

import { themeOf } from "../base/colour.js";
import { ColourBar } from "../base/colourbar.js";
import { h, section, setText } from "../base/dom.js";
import { HeatMap } from "../base/heatmap.js";
import { absent, csvLine, share, short } from "../base/text.js";
import { floats } from "../base/traits.js";
import { alike } from "./pictures.js";

export const mapPanel = ({ model, root, asked }) => {
  let scores = null;
  const mapTitle = h("p", { class: "mn-note" }),
    mapRead = h("p", { class: "mn-note mn-readout", "data-testid": "map-read", role: "status" }),
    bar = new ColourBar("map-bar");
  const factsOf = (r, c) => {
    const i = r * scores.steps + c,
      takes = asked.current(model.get("edit").key) ? model.get("edit").layers?.[r] : null;
    return [
      ["layer", scores.short[r]],
      ["step", `${c + 1} of ${scores.steps}${c < model.get("first") ? ", united" : ""}`],
      [`${asked.placeOf(scores.place).unit} beyond z = 3`, share(scores.share[i])],
      ["largest |z|", short(scores.largest[i])],
      ...(absent(takes) ? [] : [["the edit takes", `${share(takes)} of the layer`]]),
    ];
  };
  const map = new HeatMap({
    label: "Layer-by-step map: how far layers tell the two sets apart; arrow keys read its cells",
    testid: "map",
    name: (r, c) =>
      factsOf(r, c)
        .map((f) => f.join(" "))
        .join(", "),
    hover: (at) => {
      if (at)
        setText(
          mapRead,
          `${scores.layers[at.row]}: ${factsOf(at.row, at.column)
            .slice(1)
            .map((f) => f.join(" "))
            .join(", ")}.`,
        );
    },
  });
  const mapBox = section(
    {
      label: "Layer-by-step map",
      title: "Where and when the two sets differ",
      beside: [bar.element],
      "data-testid": "scores",
    },
    mapTitle,
    map.element,
    mapRead,
  );
  const drawMap = () => {
    const raw = model.get("scores");
    mapBox.hidden = !raw.layers || raw.memorised !== model.get("memorised");
    if (mapBox.hidden) {
      scores = null;
      return;
    }
    scores = { ...raw, share: floats(raw.share), largest: floats(raw.largest) };
    if (!root.isConnected) return;
    const at = asked.placeOf(raw.place),
      top = Math.max(0, ...scores.share) || 0.01,
      old =
        raw.reference !== model.get("reference") ||
        raw.place !== model.get("place") ||
        !alike(raw.chosen, model.get("chosen"));
    setText(
      mapTitle,
      `${raw.sets[0]} memorised against ${raw.sets[1]} reference captions in the ${at.layers}` +
        `${old ? " (of an earlier choice)" : ""}: share of a layer’s ${at.unit} whose mean energy differs ` +
        `by more than 3 standard errors; about 0.3 % by chance, more with few captions. Layers by block ` +
        `and attention` +
        (at.alike
          ? ", k: keys, v: values. All of them read the caption’s words, which no layer and no step changes: " +
            `there is one value instead of a map, ${share(scores.share[0])}.`
          : ", in the order in which they run; steps in bold are united in the mask."),
    );
    bar.element.hidden = map.element.hidden = mapRead.hidden = at.alike; // one value is a sentence
    if (at.alike) return;
    bar.update({
      ramp: themeOf(root).single,
      low: "0 %",
      middle: share(top / 2),
      high: share(top),
      title: `${at.unit} beyond z = 3`,
    });
    const room = Math.max(240, (mapBox.clientWidth || 900) - 20);
    map.update(
      {
        rows: scores.layers.length,
        columns: scores.steps,
        rowLabels: scores.short,
        columnLabels: Array.from({ length: scores.steps }, (_, i) => ({
          text: String(i + 1),
          strong: i < model.get("first"),
        })),
        rowTitle: "layer",
        columnTitle: "denoising step",
        cellHeight: 22,
        cellWidth: Math.max(12, Math.min(120, Math.floor((room - 120) / scores.steps))),
        colour: (r, c, theme) => theme.single(scores.share[r * scores.steps + c] / top),
        tip: factsOf,
      },
      room,
    );
  };
  const csv = () =>
    [
      ["layer", "step", "share_beyond_3", "largest_z"],
      ...scores.layers.flatMap((name, r) =>
        Array.from({ length: scores.steps }, (_, c) => [
          name,
          c + 1,
          scores.share[r * scores.steps + c],
          scores.largest[r * scores.steps + c],
        ]),
      ),
    ]
      .map(csvLine)
      .join("");
  return { element: mapBox, draw: drawMap, csv, there: () => !!scores };
};
