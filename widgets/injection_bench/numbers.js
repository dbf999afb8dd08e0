// InjectionBench's map and numbers.

import { absent, csvLine, number } from "../base/text.js";
import { floats } from "../base/traits.js";

// Changes below 0.0001 nats are float32 rounding.
export const gain = (v) => (v === null ? "–" : Math.abs(v) < 1e-4 ? "0" : (v > 0 ? "+" : "") + number(v));

export const chance = (logprob) => (absent(logprob) ? "–" : `${number(100 * Math.exp(logprob))}%`);

export const ratio = (change) => (absent(change) ? "–" : `× ${number(Math.exp(change))}`);

export const plain = (v) => String(v).replace("-", "−");

export const nats = (v) => (absent(v) ? "–" : number(v));

/** The map trait with its buffers as arrays. */
export const readMap = (raw) => {
  if (!raw?.shape) return null;
  const map = { ...raw, memory: floats(raw.memory), control: raw.control ? floats(raw.control) : null };
  map.at = (row, column) => row * raw.shape[1] + column;
  return map;
};

export const csvOf = (map) => {
  let text = "layer,strength,condition,injected,change_logprob_nats,logprob_nats,top_token\r\n";
  for (const which of map.control ? ["memory", "control"] : ["memory"])
    for (let r = 0; r < map.shape[0]; r++)
      for (let c = 0; c < map.shape[1]; c++) {
        const change = map[which][map.at(r, c)];
        text += csvLine([
          map.rows[r],
          map.columns[c],
          which,
          map[`${which}_name`],
          change,
          change + map.base,
          map[`${which}_top`]?.[map.at(r, c)] ?? "",
        ]);
      }
  return text;
};
