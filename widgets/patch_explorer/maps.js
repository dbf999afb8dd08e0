// PatchExplorer's maps: reading one from the trait, and its cells in words.

import { csvLine, number, shorten, visible } from "../base/text.js";
import { floats } from "../base/traits.js";

/** Sites that a map over heads, or over experts, can be of. */
export const SITES_OVER = { head: ["z", "q", "k", "v", "pattern"], expert: ["router", "expert"] };

export const QUANTITIES = {
  normalized: {
    label: "normalized effect",
    unit: (m) => `normalized effect (0 = ${m.base_name}, 1 = ${m.source_name} run)`,
  },
  effect: { label: "effect", unit: (m) => `effect: change of ${m.metric}` },
  value: { label: "metric value", unit: (m) => `${m.metric} under the edit (white = ${m.base_name} run)` },
};

/** A map trait with its buffers as arrays; `value` is coloured by its distance from the base run. */
export const readMap = (raw) => {
  if (!raw?.shape) return null;
  const map = { ...raw };
  for (const key of ["value", "effect", "normalized"]) map[key] = floats(raw[key]);
  map.index = (row, column) => row * raw.shape[1] + column;
  map.get = (key, row, column) => map[key][map.index(row, column)];
  return map;
};

export const byPart = (map) => map.column_name !== "position"; // columns are heads or experts, and have no tokens

export const place = (map, row, column) => `layer ${map.rows[row]}, ${map.column_name} ${map.columns[column]}`;

export const tokensAt = (map, column) => {
  if (byPart(map)) return [];
  const [clean, corrupted] = [map.clean_tokens[column] ?? "", map.corrupted_tokens[column] ?? ""];
  return clean === corrupted
    ? [["token", visible(clean)]]
    : [
        ["clean", visible(clean)],
        ["corrupted", visible(corrupted)],
      ];
};

export const csvOf = (map) => {
  let text = `layer,${map.column_name},token_clean,token_corrupted,value,effect,normalized\r\n`;
  for (let r = 0; r < map.shape[0]; r++)
    for (let c = 0; c < map.shape[1]; c++)
      text += csvLine([
        map.rows[r],
        map.columns[c],
        byPart(map) ? "" : (map.clean_tokens[c] ?? ""),
        byPart(map) ? "" : (map.corrupted_tokens[c] ?? ""),
        map.get("value", r, c),
        map.get("effect", r, c),
        map.get("normalized", r, c),
      ]);
  return text;
};

/** The heat map of a run: `read` gives the number of a cell, `limit` the end of the colour scale. */
export const gridOf = (m, read, limit) => {
  const columns = m.columns.map((c, i) => {
    if (byPart(m)) return { text: String(c) };
    const [a, b] = [m.clean_tokens[i] ?? "", m.corrupted_tokens[i] ?? ""];
    return { text: a === b ? visible(a) : `${shorten(visible(a), 10)}|${shorten(visible(b), 10)}`, strong: a !== b };
  });
  return {
    rows: m.shape[0],
    columns: m.shape[1],
    rowLabels: m.rows.map(String),
    columnLabels: columns,
    rowTitle: "layer",
    columnTitle: byPart(m) ? m.column_name : "token (clean|corrupted where they differ)",
    flip: true,
    colour: (r, c, theme) => {
      const v = read(m.index(r, c));
      return Number.isNaN(v) ? null : theme.diverging(0.5 + v / limit / 2);
    },
    tip: (r, c) => [
      ["", place(m, r, c)],
      ...tokensAt(m, c),
      [m.metric, number(m.get("value", r, c))],
      ["effect", number(m.get("effect", r, c))],
      ["normalized", number(m.get("normalized", r, c))],
    ],
  };
};

/** The run in one line. */
export const describe = (m) =>
  `${m.name} · ${m.site} · layer × ${m.column_name} · ${m.metric} · ${m.direction}` +
  `${m.method === "exact" ? "" : ` · ${m.method}`}${m.complete ? "" : " · partial"}`;
