// PatchExplorer's maps: reading one from the trait, and its cells in words.

import { csvLine, visible } from "../base/text.js";
import { floats } from "../base/traits.js";

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
