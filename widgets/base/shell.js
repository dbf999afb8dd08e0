// The frame that all views share: title, model and data line, examples, Run and Stop with progress, error, export.

import { onTheme, themeOf } from "./colour.js";
import { h, hideStatic, mount, onShown, option, setText } from "./dom.js";
import { connect } from "./traits.js";

/** The menu of examples, with the person's own last input; it draws the trait `examples`. */
const exampleMenu = (model, { send, listen }) => {
  const select = h("select", {
    "data-testid": "examples",
    "aria-label": "Example shown",
    onchange: () => send("example", { number: Number(select.value) }),
  });
  const element = h("label", { class: "mn-examples" }, h("span", { class: "mn-note", text: "Example" }), select);
  const draw = () => {
    const { names = [], own = false, chosen = null } = model.get("examples");
    element.hidden = names.length + own < 1 || (names.length === 1 && !own && chosen === 0);
    select.replaceChildren(
      ...(chosen === null ? [option("", "choose one …")] : []),
      ...names.map((name, i) => option(String(i), name)),
      ...(own ? [option("-1", "your last input")] : []),
    );
    select.value = chosen === null ? "" : String(chosen);
  };
  listen(["examples"], draw);
  draw();
  return element;
};

/** Run and Stop, how far the computation is, and where it failed: the traits status, progress and error. */
const runControls = (model, root, { send, listen }, { start, label, help, stop: stopHelp, unit }) => {
  const run = h("button", {
    class: "mn-button mn-primary",
    type: "button",
    "data-testid": "run",
    text: label,
    title: `${help} (Ctrl+Enter)`,
    onclick: start,
  });
  const stop = h("button", {
    class: "mn-button",
    type: "button",
    "data-testid": "stop",
    text: "Stop",
    title: stopHelp,
    onclick: () => send("stop"),
  });
  const bar = h("div", { class: "mn-progress-fill" }),
    text = h("span", { class: "mn-note", "data-testid": "progress", role: "status" });
  const track = h(
    "div",
    { class: "mn-progress", role: "progressbar", "aria-label": unit, "aria-valuemin": 0, "aria-valuemax": 100 },
    bar,
  );
  const error = h("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
  const draw = () => {
    const status = model.get("status"),
      p = model.get("progress"),
      share = p.total ? Math.round((100 * p.done) / p.total) : 0,
      e = model.get("error");
    stop.disabled = status !== "running";
    root.setAttribute("data-status", status);
    track.hidden = status !== "running" && status !== "stopping";
    bar.style.width = `${share}%`;
    track.setAttribute("aria-valuenow", share);
    setText(text, p.text ?? "");
    error.hidden = !e.text;
    error.replaceChildren(...(e.text ? [h("strong", { text: e.title }), h("pre", { text: e.text })] : []));
  };
  listen(["status", "progress", "error"], draw);
  draw();
  const row = h("div", { class: "mn-run" }, run, stop, h("div", { class: "mn-status" }, track, text));
  return { run, row, error };
};

/**
 * Begin a view: what it is called, what its Run does. `start` answers Run and Ctrl+Enter, `stop` is the help of the
 * Stop button, `unit` what the progress bar counts. Gives the ties to the model besides (`send`, `listen`, `set`), the
 * run row and the error for the view to place, and `open`.
 */
export const shell = (model, { title, testid, name, kind, data, start, label = "Run", help, stop, unit }) => {
  const ties = connect(model);
  const line = h("span", { class: "mn-chip", "data-testid": "model", text: data ?? model.get("model_info").text });
  const root = h("div", {
    class: `mnemoscope ${kind}`,
    "data-testid": testid,
    "data-lm-suppress-shortcuts": "true",
    role: "region",
    "aria-label": name,
  });
  const { run, row, error } = runControls(model, root, ties, { start, label, help, stop, unit });
  root.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || !(e.ctrlKey || e.metaKey)) return;
    e.preventDefault();
    e.stopPropagation();
    run.click();
  });

  /**
   * Put the view on the page, its parts in their order and the drawer last; `draw` follows the width of `box` and the
   * page's theme. Returns what takes the view off again.
   */
  const open = (el, { parts, drawer, box, draw }) => {
    const header = h(
      "header",
      { class: "mn-header" },
      h("h2", { text: title }),
      h("div", { class: "mn-about" }, exampleMenu(model, ties), line),
    );
    root.append(header, ...parts.filter((part) => part), drawer.element);
    mount(el, root);
    const redraw = () => {
      root.setAttribute("data-dark", themeOf(root).dark);
      draw();
    };
    ties.listen(["saved", "code"], drawer.draw);
    ties.undo.push(onTheme(redraw), onShown(root, box, redraw), hideStatic(model.get("static_key")));
    drawer.draw();
    return () => {
      for (const take of ties.undo) take();
    };
  };
  return { ...ties, root, line, run, row, error, open };
};
