// Texts whose differing tokens are marked.

import { h } from "./dom.js";
import { many, plainly, share, visible } from "./text.js";
import { floats } from "./traits.js";

/** The texts trait with what was written as token numbers: made(item, point) gives one row of them. */
export const readTexts = (raw) => {
  if (!raw?.items) return { tokens: [], items: [], made: () => [] };
  const all = floats(raw.made),
    sizes = raw.items.map((item) => item.gold.length),
    total = sizes.reduce((a, b) => a + b, 0),
    points = total ? all.length / total : 0;
  const starts = [];
  sizes.reduce((at, n, i) => {
    starts[i] = at;
    return at + n * points;
  }, 0);
  return {
    ...raw,
    made: (i, point) => [...all.subarray(starts[i] + point * sizes[i], starts[i] + (point + 1) * sizes[i])],
  };
};

/**
 * Tokens one after another; those that differ from the row `like` are bold, boxed and underlined, and said to differ.
 */
const tokenLine = (texts, row, like) => {
  const one = (token, i) => {
    const text = visible(texts.tokens[token]);
    if (!like || like[i] === token) return h("span", { text });
    return h(
      "mark",
      { title: `differs: in the data ${visible(texts.tokens[like[i]])}` },
      h("span", { class: "mn-hidden", text: "differs: " }),
      text,
    );
  };
  return h("span", { class: "mn-tokens" }, ...row.flatMap((token, i) => [one(token, i), h("wbr")]));
};

const wrongOf = (row, gold) => row.filter((t, i) => t !== gold[i]).length;

/** One memorised or clean text: what was given, what the data has, and what was written under each label. */
export const textBlock = (texts, i, labels, what) => {
  const item = texts.items[i],
    line = (name, node, note) =>
      h(
        "tr",
        {},
        h("th", { scope: "row", text: name }),
        h("td", {}, node),
        h("td", { class: "mn-why", text: note ?? "" }),
      );
  return h(
    "div",
    { class: "mn-text", "data-testid": "text", "data-what": item.what },
    h(
      "div",
      { class: "mn-text-head" },
      h("strong", { text: plainly(item.name) }),
      h("span", { class: "mn-note", text: ` ${what}` }),
    ),
    h(
      "table",
      { class: "mn-lines" },
      h(
        "tbody",
        {},
        line("given", tokenLine(texts, item.given)),
        line("in the data", tokenLine(texts, item.gold)),
        ...labels.map(([name, point]) => {
          const made = texts.made(i, point),
            wrong = wrongOf(made, item.gold);
          return wrong
            ? line(name, tokenLine(texts, made, item.gold), `${wrong} of ${many(made.length, "token")} differ`)
            : line(name, h("span", { class: "mn-note", text: "as in the data, word for word" }));
        }),
      ),
    ),
  );
};

/** What has to be said where the unedited model recites none of a set: nothing can be taken away there. */
export const noneRecited = (unedited, set) =>
  unedited.strict === 0
    ? `The unedited model recites none of the ${many(unedited.n, "sequence")}${set ? ` “${set}”` : ""} ` +
      `word for word${unedited.loose > 0 ? ` (loosely: ${share(unedited.loose)})` : ", nor loosely"}: what ` +
      `an edit takes away cannot be seen there. Choose text that it knows, a longer prefix or a shorter ` +
      `suffix.`
    : "";

export const LEGEND = () =>
  h(
    "p",
    { class: "mn-note" },
    "Tokens that differ from the data: ",
    h("span", { class: "mn-tokens" }, h("mark", { text: "boxed and underlined" })),
    ".",
  );
