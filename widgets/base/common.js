// Helpers that every view shares: elements, visible tokens, themes and colours.
// `widgets/_assets.py` puts this file in front of a view's own, so that one widget is one ES module without imports.

/** An element; text always goes through textContent, so a token can never become markup. */
const h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  // JupyterLab takes arrow keys, Enter and letters from whatever is focused in a notebook, unless that element itself says no.
  if (element.matches("input, select, textarea, button, summary, [tabindex]")) element.setAttribute("data-lm-suppress-shortcuts", "true");
  return element;
};

const setText = (element, text) => { if (element.textContent !== text) element.textContent = text; };

/** A token as a person can read it: spaces, line breaks, tabs and control characters get a visible sign. */
const visible = (token) => {
  if (token === "") return "∅";
  return token.replace(/ /g, "·").replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
      (c) => `‹${c.codePointAt(0).toString(16).padStart(4, "0")}›`);
};
const shorten = (text, length) => ([...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text);

/** Three significant digits with a true minus sign; "no value" for what was not computed. */
const number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "no value";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-4 ? size.toExponential(2) : size >= 100 ? size.toFixed(1) : size >= 1 ? size.toFixed(2) : size.toFixed(3);
  return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
};
const percent = (p) => (p >= 0.1 ? (100 * p).toFixed(0) : p >= 0.001 ? (100 * p).toFixed(1) : "<0.1") + "%";

/** A view on a binary trait as numbers; copies only where the buffer is not aligned. */
const floats = (data) => {
  if (!data) return new Float32Array(0);
  const view = data instanceof ArrayBuffer ? new DataView(data) : data;
  const bytes = view.byteOffset % 4 ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : view.buffer;
  return new Float32Array(bytes, view.byteOffset % 4 ? 0 : view.byteOffset, Math.floor(view.byteLength / 4));
};
const octets = (data) => new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const css = ([r, g, b]) => `rgb(${Math.round(r)},${Math.round(g)},${Math.round(b)})`;
const luminance = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;

// Blue against orange is told apart in every common form of colour blindness; the neutral middle follows the page's background.
const ramp = (stops) => {
  const colours = stops.map(rgb), last = colours.length - 1;
  return (t) => {
    const x = Math.min(1, Math.max(0, t)) * last, i = Math.min(last - 1, Math.floor(x)), f = x - i;
    return colours[i].map((c, k) => c + f * (colours[i + 1][k] - c));
  };
};
const RAMPS = {
  light: { diverging: ramp(["#0a3a75", "#2f7fc1", "#a6cdec", "#f9f9f7", "#fbc98f", "#dd7f1d", "#853703"]), single: ramp(["#f9f9f7", "#b9d8ee", "#5a9fd4", "#1f62a6", "#08264f"]), missing: [214, 214, 214], ink: "#1c1c1c" },
  dark: { diverging: ramp(["#a9d6ff", "#4a9be0", "#22507d", "#202328", "#7a4515", "#dd8430", "#ffd0a0"]), single: ramp(["#202328", "#1d4a73", "#2f7fc1", "#7cbcf0", "#e6f4ff"]), missing: [78, 82, 88], ink: "#f2f2f2" },
};

/** Reads the page's theme from the colours that the element really has, so it works in every front end. */
const themeOf = (element) => {
  const probe = getComputedStyle(element.closest(".mnemoscope") ?? element);
  const value = (name, otherwise) => probe.getPropertyValue(name).trim() || otherwise;
  const canvas = h("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = "#ffffff";
  canvas.fillStyle = probe.backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  const page = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3), dark = luminance(page) < 0.4;
  const ramps = dark ? RAMPS.dark : RAMPS.light;
  return { dark, ...ramps, page, text: probe.color, muted: value("--mn-muted", "#666"), accent: value("--mn-accent", "#0b6bcb"), background: probe.backgroundColor,
    font: value("--mn-font", "system-ui, sans-serif"), mono: value("--mn-mono", "monospace") };
};

/** Calls back when JupyterLab or the system changes its theme; returns what undoes it. */
const onTheme = (callback) => {
  const observer = new MutationObserver(() => requestAnimationFrame(callback));
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-name", "data-jp-theme-light", "data-vscode-theme-kind"] });
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  return () => { observer.disconnect(); media.removeEventListener("change", callback); };
};

// Draws when the view is on the page and whenever its width changes. A front end may render into an element that it attaches
// only later, and take it out again while it is out of sight: nothing can be measured then, so nothing is drawn.
const onShown = (root, box, draw) => {
  let width = 0;
  const watcher = new ResizeObserver(() => {
    const now = root.isConnected ? box.clientWidth : 0, changed = Math.abs(now - width) > 4;
    width = now;
    if (!now) return;
    if (changed) draw();
    root.setAttribute("data-ready", "true");
  });
  watcher.observe(box);
  return () => watcher.disconnect();
};

const download = (name, type, content) => {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link); link.click(); link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
};

const copyText = async (text, area) => {
  try { await navigator.clipboard.writeText(text); } catch { area.focus(); area.select(); document.execCommand("copy"); }
};

const option = (value, label) => h("option", { value, text: label });
const field = (label, control, note) => h("label", { class: "mn-field" }, h("span", { class: "mn-label", text: label }), control, note ?? null);
let mnCount = 0;
const uniqueId = (stem) => `mn-${stem}-${++mnCount}-${Math.random().toString(36).slice(2, 7)}`;

/**
 * Put a view on the page. What a person presses may move away before it is let go: leaving a text field sends it to the kernel, and
 * the answer can take a line more. The browser then makes no click of the press; this makes it, where the pointer itself stayed.
 */
const mount = (el, root) => {
  el.append(root);
  root.addEventListener("pointerdown", (down) => {
    const button = down.button === 0 && down.target.closest("button");
    if (!button || button.disabled) return;
    const up = (e) => {
      if (e.pointerId !== down.pointerId) return;
      document.removeEventListener("pointerup", up, true); document.removeEventListener("pointercancel", up, true);
      const stayed = Math.hypot(e.clientX - down.clientX, e.clientY - down.clientY) < 6;
      if (e.type === "pointerup" && stayed && !button.contains(e.target) && button.isConnected) button.click();
    };
    document.addEventListener("pointerup", up, true); document.addEventListener("pointercancel", up, true);
  });
};

/** The static copy in the stored notebook is for readers without a kernel; a live view hides it. */
const hideStatic = (key) => {
  if (!key || !/^[\w-]+$/.test(key)) return () => {};
  const style = h("style", { text: `.jp-OutputArea-child:has(.mnemoscope-static-${key}), .mnemoscope-static-${key} { display: none !important; }` });
  document.head.append(style);
  return () => style.remove();
};

/** A view's ties to its model: commands, listeners that `undo` takes off again, and several traits in one change. */
const connect = (model) => {
  const undo = [];
  return { undo, send: (type, content = {}) => model.send({ type, ...content }),
    listen: (names, callback) => { for (const name of names) { model.on(`change:${name}`, callback); undo.push(() => model.off(`change:${name}`, callback)); } },
    set: (values) => { for (const [k, v] of Object.entries(values)) model.set(k, v); model.save_changes(); } };
};

// Controls tied to the traits of the same names; `push` takes a change to the kernel. A front end holds back changed traits
// while the kernel is busy, but not messages: a command brings along `shown()`, what the person sees.
const tiedControls = (model, listen, push) => {
  const inputs = {}, moved = { range: true, number: true };
  const read = (name, c) => { const kind = typeof model.get(name); return kind === "boolean" ? c.checked : kind !== "number" ? c.value : c.value === "" ? NaN : Number(c.value); };
  const write = (c, value) => { if (c.type === "checkbox") c.checked = value; else c.value = value; };
  const bound = (name, control) => {
    inputs[name] = control; control.setAttribute("data-testid", name);
    let timer, waiting, until = 0;
    const pull = () => {
      clearTimeout(waiting);
      // An answer to an earlier move must not take the slider from the hand that still moves it.
      const wait = until - Date.now(); if (wait > 0) { waiting = setTimeout(pull, wait); return; }
      if (read(name, control) !== model.get(name)) { write(control, model.get(name)); control.dispatchEvent(new Event("pulled")); }
    };
    pull(); listen([name], pull);
    const flush = () => { clearTimeout(timer); const value = read(name, control); if (!Number.isNaN(value) && value !== model.get(name)) push({ [name]: value }); };
    control.addEventListener("change", flush);
    if (control.tagName !== "SELECT" && control.type !== "checkbox") control.addEventListener("input", () => {
      clearTimeout(timer);
      if (moved[control.type]) { until = Date.now() + 700; flush(); } else timer = setTimeout(flush, 350);
    });
    control.flush = flush; return control;
  };
  return { inputs, bound,
    shown: () => Object.fromEntries(Object.entries(inputs).map(([name, c]) => [name, read(name, c)]).filter(([, v]) => !Number.isNaN(v))),
    flush: () => { for (const c of Object.values(inputs)) c.flush(); },
    area: (name, more = {}) => bound(name, h("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", ...more })),
    line: (name, placeholder) => bound(name, h("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder })),
    choose: (name, options) => bound(name, h("select", {}, ...options.map(([value, label]) => option(value, label)))) };
};

/** Run and Stop, how far the computation is, and where it failed: `draw()` shows the traits status, progress and error. */
const runControls = (model, root, { title, start, stop: end }) => {
  const run = h("button", { class: "mn-button mn-primary", type: "button", "data-testid": "run", text: "Run", title, onclick: start });
  const stop = h("button", { class: "mn-button", type: "button", "data-testid": "stop", text: "Stop", title: "Stop after the layer in progress; finished layers stay", onclick: end });
  const bar = h("div", { class: "mn-progress-fill" }), text = h("span", { class: "mn-note", "data-testid": "progress", role: "status" });
  const track = h("div", { class: "mn-progress", role: "progressbar", "aria-label": "Layers computed", "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const error = h("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
  const draw = () => {
    const status = model.get("status"), p = model.get("progress"), share = p.total ? Math.round((100 * p.done) / p.total) : 0, e = model.get("error");
    stop.disabled = status !== "running"; root().setAttribute("data-status", status); track.hidden = status !== "running" && status !== "stopping";
    bar.style.width = `${share}%`; track.setAttribute("aria-valuenow", share); setText(text, p.text ?? "");
    error.hidden = !e.text; error.replaceChildren(...(e.text ? [h("strong", { text: e.title }), h("pre", { text: e.text })] : []));
  };
  return { run, error, draw, element: h("div", { class: "mn-run" }, run, stop, h("div", { class: "mn-status" }, track, text)) };
};

/** Most likely tokens as bars; `marks` maps a token to [letter, meaning, class]. */
const tokenBars = (title, list, marks) => h("div", { class: "mn-predictions" }, h("h4", { text: title }), h("ol", {}, ...list.map(([token, p]) => {
  const [letter, meaning, kind = ""] = marks.get(token) ?? [];
  return h("li", {}, h("span", { class: "mn-p-bar", style: `width:${(100 * p).toFixed(1)}%` }), h("code", { text: shorten(visible(token), 18), title: visible(token) }),
    letter ? h("span", { class: `mn-tag ${kind}`, text: letter, title: meaning, "aria-label": meaning }) : null, h("span", { class: "mn-p", text: percent(p) }));
})));

const csvLine = (values) => values.map((v) => (typeof v === "string" ? `"${v.replace(/"/g, '""')}"` : Number.isNaN(v) ? "" : String(v))).join(",") + "\r\n";
const largest = (array) => { let top = 0; for (const v of array) { const a = Math.abs(v); if (a > top && Number.isFinite(a)) top = a; } return top; };
