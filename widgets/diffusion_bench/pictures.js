// DiffusionBench's pictures as they come: files, values, copies.

import { shorten } from "../base/text.js";
import { octets } from "../base/traits.js";

/** Rows of pictures: name, title, what a picture in it is. */
export const ROWS = [
  ["training", "Training picture", "training picture"],
  ["before", "Before", "drawn by the unedited model"],
  ["after", "After the edit", "drawn by the edited model"],
  ["random", "Random control", "drawn with as many random weights set to 0"],
  ["attacked", "After the attack", "drawn by the edited model from an optimised embedding"],
];

export const DRAWN = ["before", "after", "random", "attacked"];

/** Fields that an edit is of. */
export const EDIT = ["memorised", "reference", "place", "method", "chosen", "sparsity", "first"];

export const alike = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** A file of a packed buffer as a data address, "" where there is none; each is made once. */
export const filesOf = (raw) => {
  const sizes = raw?.sizes ?? [],
    all = raw?.data ? octets(raw.data) : new Uint8Array(0),
    made = [],
    starts = [];
  let at = 0;
  for (const n of sizes) {
    starts.push(at);
    at += n;
  }
  return (i) => {
    if (!sizes[i]) return "";
    if (made[i] === undefined) {
      const bytes = all.subarray(starts[i], starts[i] + sizes[i]);
      let text = "";
      for (const b of bytes) text += String.fromCharCode(b);
      made[i] = `data:image/${bytes[0] === 0xff ? "jpeg" : "png"};base64,${btoa(text)}`;
    }
    return made[i];
  };
};

/** A drawn state: file(frame, caption, seed), value, copied, and how many frames are there. */
export const readState = (raw, captions, seeds, frames) => {
  if (!raw?.sizes) return null;
  const size = captions * seeds,
    file = filesOf(raw),
    at = (f, c, s) => f * size + c * seeds + s;
  return {
    ...raw,
    ready: raw.status === "ready",
    file: (f, c, s) => {
      for (let k = f; k >= 0; k--) {
        const found = file(at(k, c, s));
        if (found) return found;
      }
      return "";
    },
    value: (f, c, s) => raw.values[at(f, c, s)] ?? null,
    copy: (f, c, s) => (f === frames - 1 && raw.copied.length ? raw.copied[c * seeds + s] : null),
  };
};

export const wrapped = (text, length) => {
  const lines = [""];
  for (const word of text.split(" ")) {
    const now = lines.at(-1);
    if (now && [...now].length + [...word].length + 1 > length) lines.push(word);
    else lines[lines.length - 1] = now ? `${now} ${word}` : word;
  }
  return lines.map((l) => shorten(l, length + 2));
};

/** What is said of a copy. */
export const verdict = (copy) => (copy === true ? "copy" : copy === false ? "no copy" : "");
