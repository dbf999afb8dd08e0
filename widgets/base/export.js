// The drawer that every view ends in: figure, numbers, labelled file, Python.

import { copyText, download, field, h, setText } from "./dom.js";
import { svgToPng } from "./figure.js";

/**
 * The drawer with the figure, the numbers, the labelled file and the Python; `draw()` shows the traits saved and
 * code.
 */
export const exportDrawer = (model, send, { stem, figure, table, example }) => {
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
  const button = (testid, text, onclick, more = "") =>
    h("button", { type: "button", class: `mn-button ${more}`, "data-testid": testid, text, onclick });
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
      button("svg", "Figure (SVG)", () => download(`${stem()}.svg`, "image/svg+xml", figure().text)),
      button("png", "Figure (PNG)", async () => download(`${stem()}.png`, "image/png", await svgToPng(figure()))),
      button("csv", "Data (CSV)", () => download(`${stem()}.csv`, "text/csv", table())),
    ),
    h(
      "div",
      { class: "mn-saverow" },
      field("Save the labelled data on the kernel’s machine as", path),
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
