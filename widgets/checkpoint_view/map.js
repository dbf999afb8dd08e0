// CheckpointView's map: reading it from the trait, its cells in words and as rows of a file.

import { csvLine, number, visible } from "../base/text.js";
import { floats } from "../base/traits.js";

/** What a quantity is set against, in words. */
export const AGAINST = {
  nothing: "as it is",
  floor: "beyond two runs of one recipe",
  random: "beyond a random move as far",
  twin: "beyond another run’s state",
};

/** The map trait with its buffers as arrays. */
export const readTables = (raw) => {
  if (!raw?.shape) return null;
  const tables = {};
  for (const [name, table] of Object.entries(raw.tables)) {
    tables[name] = { ...table, values: { nothing: floats(table.value) } };
    for (const kind of table.against) if (kind !== "nothing") tables[name].values[kind] = floats(table[kind]);
  }
  return { ...raw, tables };
};

/** The quantity and what it is set against that can be shown: those asked for, or the nearest there are. */
export const chosen = (map, show, against) => {
  const name = map.tables[show] ? show : Object.keys(map.tables)[0];
  return [name, map.tables[name].against.includes(against) ? against : "nothing"];
};

/** A cell's numbers: [words, text] lines. */
export const linesAt = (map, row, column) => {
  const i = row * map.shape[1] + column,
    lines = [];
  for (const table of Object.values(map.tables))
    for (const kind of table.against)
      lines.push([kind === "nothing" ? table.label : `… ${AGAINST[kind]}`, number(table.values[kind][i])]);
  return lines;
};

export const place = (map, row, column) =>
  `layer ${map.rows[row]}, position ${map.columns[column]} ${visible(map.tokens[column])}`;

/** The heat map of what is shown. */
export const gridOf = (map, values, limit) => ({
  rows: map.shape[0],
  columns: map.shape[1],
  rowLabels: map.rows.map(String),
  columnLabels: map.tokens.map((token) => ({ text: visible(token) })),
  rowTitle: "layer",
  columnTitle: "token",
  flip: true,
  colour: (r, c, theme) => {
    const v = values[r * map.shape[1] + c];
    return Number.isNaN(v) ? null : theme.diverging(0.5 + v / limit / 2);
  },
  tip: (r, c) => [["", place(map, r, c)], ...linesAt(map, r, c)],
});

/** All quantities, a line a cell. */
export const csvOf = (map) => {
  const columns = Object.entries(map.tables).flatMap(([name, table]) =>
    table.against.map((kind) => [kind === "nothing" ? name : `${name}_beyond_${kind}`, table.values[kind]]),
  );
  let text = csvLine(["layer", "position", "token", ...columns.map(([name]) => name)]);
  for (let r = 0; r < map.shape[0]; r++)
    for (let c = 0; c < map.shape[1]; c++)
      text += csvLine([
        map.rows[r],
        map.columns[c],
        map.tokens[c],
        ...columns.map(([, values]) => values[r * map.shape[1] + c]),
      ]);
  return text;
};
