// What a lens and a dictionary's features say at the selected cell.

import { h, option } from "../base/dom.js";
import { tokenBars } from "../base/predictions.js";
import { number, percent } from "../base/text.js";

/** The orders in which features are listed, and what they are called. */
export const ORDERS = { strongest: "strongest first", different: "most different first" };

/** A feature's value in a run: 0 where it is off, a dash where it is not among those that were read. */
export const valueText = (value) => (value === null || value === undefined ? "—" : value === 0 ? "off" : number(value));

/** Whether a readout is of the cell that a detail is of. */
export const ofCell = (readout, detail) =>
  readout.status !== undefined && ["run", "layer", "column"].every((key) => readout[key] === detail[key]);

const part = (testid, title, ...inside) =>
  h(
    "section",
    { class: "mn-readout", "data-testid": testid, "aria-label": title },
    h("h3", { text: title }),
    ...inside,
  );
const note = (text) => h("p", { class: "mn-note", text });

const lensPart = (lens, detail) => {
  if (lens.note) return part("lens", lens.title, note(lens.note));
  const marks = new Map([
    [detail.foil, ["F", "foil", "mn-foil"]],
    [detail.answer, ["A", "answer"]],
  ]);
  const columns = lens.columns.map(([title, list]) => tokenBars(title, list, marks));
  return part("lens", lens.title, h("div", { class: "mn-columns mn-pairs" }, ...columns));
};

const featureRows = (rows, labelled) => {
  const most = Math.max(1e-9, ...rows.flatMap((row) => row.slice(2).map((v) => Math.abs(v ?? 0))));
  const value = (v) =>
    h(
      "td",
      { class: "mn-number mn-value" },
      h("span", { class: "mn-p-bar", style: `width:${((94 * Math.abs(v ?? 0)) / most).toFixed(1)}%` }),
      h("span", { text: valueText(v) }),
    );
  return rows.map(([index, label, clean, corrupted]) =>
    h(
      "tr",
      { "data-feature": index },
      h("th", { scope: "row", text: String(index) }),
      ...(labelled ? [h("td", { class: "mn-label", text: label || "—", title: label })] : []),
      value(clean),
      value(corrupted),
    ),
  );
};

const featurePart = (found, state) => {
  const more = found.more ? [note(found.more)] : [];
  if (found.note) return part("features", found.title, ...more, note(found.note));
  const body = h("tbody", {}, ...featureRows(found[state.order], found.labelled));
  const order = h(
    "select",
    {
      "data-testid": "feature-order",
      "aria-label": "Order of the features",
      onchange: () => {
        state.order = order.value;
        body.replaceChildren(...featureRows(found[state.order], found.labelled));
      },
    },
    ...Object.entries(ORDERS).map(([key, text]) => option(key, text)),
  );
  order.value = state.order;
  const heads = ["feature", ...(found.labelled ? ["label"] : []), "clean run", "corrupted run"];
  const [clean, corrupted] = found.error.map(percent);
  return part(
    "features",
    found.title,
    ...more,
    order,
    h("table", {}, h("thead", {}, h("tr", {}, ...heads.map((text) => h("th", { scope: "col", text })))), body),
    note(
      `active: ${found.l0.join(" and ")} (clean and corrupted run); what they leave: ${clean} and ${corrupted} of the` +
        " activation's length" +
        (found.labelled ? "" : " · the dictionary has no labels"),
    ),
  );
};

/** What stands below a cell's predictions; `state.order` is how features are listed, and kept from cell to cell. */
export const readoutParts = (readout, detail, state) => {
  if (!ofCell(readout, detail)) return [];
  if (readout.status === "running") return [note("Reading the stream here …")];
  if (readout.status === "error") return [h("pre", { class: "mn-error", role: "alert", text: readout.text })];
  return [
    ...(readout.lens ? [lensPart(readout.lens, detail)] : []),
    ...(readout.features ? [featurePart(readout.features, state)] : []),
  ];
};
