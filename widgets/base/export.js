// The drawer that every view ends in: figure, numbers, labelled file, Python.

import { copyText, download, field, h, setText } from "./dom.js";
import { svgToPng } from "./figure.js";
import { octets } from "./traits.js";

/** A button that asks something of the view. */
export const button = (testid, text, onclick, more = "") =>
  h("button", { type: "button", class: `mn-button ${more}`, "data-testid": testid, text, onclick });

/** Keep as a file what the kernel puts into the trait `document`, each once. */
export const documents = (model, listen, stem) => {
  let taken = model.get("document").number ?? 0;
  listen(["document"], () => {
    const { number, kind, type, data } = model.get("document");
    if (!number || number === taken) return;
    taken = number;
    download(`${stem()}.${kind}`, type, octets(data));
  });
};

/** What the drawer calls its files; a view may name its own. */
const LABELS = {
  svg: "Figure (SVG)",
  png: "Figure (PNG)",
  csv: "Data (CSV)",
  save: "Save the labelled data on the kernel’s machine as",
};

/**
 * The drawer with the figure, the numbers, the labelled file and the Python; `draw()` shows the traits saved and
 * code. `labels` names its files, `before` and `after` are further buttons.
 */
export const exportDrawer = (model, send, { stem, figure, table, example, labels = {}, before = [], after = [] }) => {
  const names = { ...LABELS, ...labels };
  const code = h("textarea", {
    class: "mn-code",
    readonly: true,
    rows: 12,
    spellcheck: "false",
    "aria-label": "Python that reproduces this view",
    "data-testid": "code",
  });
  const path = h("input", { type: "text", "data-testid": "path", placeholder: example, spellcheck: "false" });
  const saved = h("div", { class: "mn-note", "data-testid": "saved", role: "status" }),
    replace = h("input", { type: "checkbox", "data-testid": "overwrite" });
  const save = () => send("save", { path: path.value, overwrite: replace.checked });
  path.onkeydown = (e) => {
    if (e.key === "Enter") save();
  };
  const copy = async (e) => {
    const pressed = e.currentTarget;
    await copyText(code.value, code);
    setText(pressed, "Copied");
    setTimeout(() => setText(pressed, "Copy"), 1500);
  };
  const files = h(
    "div",
    {},
    h(
      "div",
      { class: "mn-buttons" },
      ...before,
      button("svg", names.svg, () => download(`${stem()}.svg`, "image/svg+xml", figure().text)),
      button("png", names.png, async () => download(`${stem()}.png`, "image/png", await svgToPng(figure()))),
      button("csv", names.csv, () => download(`${stem()}.csv`, "text/csv", table())),
      ...after,
    ),
    h(
      "div",
      { class: "mn-saverow" },
      field(names.save, path),
      button("save", "Save", save),
      h("label", { class: "mn-check" }, replace, "replace what is there"),
    ),
    saved,
  );
  const element = h(
    "details",
    { class: "mn-more", "data-testid": "export" },
    h("summary", { text: "Export and code" }),
    files,
    h(
      "div",
      { class: "mn-side-head" },
      h("span", { class: "mn-label", text: "Python that reproduces this view" }),
      button("copy", "Copy", copy, "mn-small"),
    ),
    code,
  );
  const draw = () => {
    const s = model.get("saved");
    setText(saved, s.text ?? "");
    saved.classList.toggle("mn-bad", s.ok === false);
    code.value = model.get("code");
    code.rows = code.value.split("\n").length + 1; // the page scrolls, not the code in it
  };
  return { element, files, draw };
};
