// DiffusionBench's measures: shares of copies by state, and every value as CSV.

import { dataTable } from "../base/charts.js";
import { h } from "../base/dom.js";
import { absent, between, csvLine, share, short } from "../base/text.js";
import { DRAWN, ROWS } from "./pictures.js";

/** Lines [title, part, group] of the states that are shown; `shows(name)`: whether a state is of the question. */
const groupsOf = (states, shows) =>
  ROWS.slice(1).flatMap(([name, title]) => {
    const s = states[name];
    if (!shows(name)) return [];
    return [
      ...s.groups.map((g) => [title, s.groups.length > 1 ? g.name : "", g]),
      ...(s.never ? [[title, s.never.name, s.never]] : []),
    ];
  });

export const measureParts = (states, shows, { info, letter }) => {
  const rows = groupsOf(states, shows);
  if (!info.measure || !rows.length) return [];
  const seeds = info.seeds.length > 1 ? "All seeds together." : `One seed of starting noise, ${info.seeds[0]}.`;
  return [
    dataTable(
      "table",
      ["", "pictures that are copies", `mean ${letter}`],
      rows.map(([title, part, g]) => [
        part ? `${title}, ${part}` : title,
        g.copies === undefined ? "–" : [`${g.copies} of ${g.pictures}`, between(g.low, g.high, share)],
        short(g.mean),
      ]),
    ),
    h("p", {
      class: "mn-note",
      text:
        `${short(100 * info.level)} % intervals over captions (Clopper–Pearson, or bootstrap where a ` +
        `caption has several seeds that disagree). ${seeds} Control: one draw.`,
    }),
  ];
};

export const measuresCsv = (states, shows, { info, captions, chosen }) => {
  const lines = [["caption", "located_on", "state", "seed", "step", "measure", "value", "copy"]],
    last = info.frames.length - 1;
  for (const name of DRAWN.filter(shows))
    captions.forEach((caption, c) => {
      info.seeds.forEach((seed, k) => {
        info.frames.forEach((step, f) => {
          const v = states[name].value(f, c, k),
            copy = states[name].copy(f, c, k);
          if (f === last || !absent(v))
            lines.push([
              caption,
              String(chosen.has(c)),
              name,
              seed,
              step,
              info.measure,
              v ?? NaN,
              copy === null ? "" : String(copy),
            ]);
        });
      });
    });
  return lines.map(csvLine).join("");
};
