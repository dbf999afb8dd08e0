// Built by npm run build from 10 files, sha256 f911859c063f0fff94e2a7968c12a9d24d8533fb3c31fead5b47f91bf5c7498b
const t = (t, e = {}, ...s) => {
const n = document.createElement(t);
for (const [t, s] of Object.entries(e)) {
if (s === null || s === undefined || s === false) continue;
if (t === "text") n.textContent = s;
else if (t.startsWith("on")) n.addEventListener(t.slice(2), s);
else if (t === "value") n.value = s;
else n.setAttribute(t, s === true ? "" : s);
}
n.append(...s.filter((t) => t !== null && t !== undefined));
if (n.matches("input, select, textarea, button, summary, [tabindex]"))
n.setAttribute("data-lm-suppress-shortcuts", "true");
return n;
};
const e = (t, e) => {
if (t.textContent !== e) t.textContent = e;
};
const s = (t, e, s) => {
let n = 0;
const i = new ResizeObserver(() => {
const i = t.isConnected ? e.clientWidth : 0,
o = Math.abs(i - n) > 4;
n = i;
if (!i) return;
if (o) s();
t.setAttribute("data-ready", "true");
});
i.observe(e);
return () => i.disconnect();
};
const n = (e, s, n) => {
const i = URL.createObjectURL(n instanceof Blob ? n : new Blob([n], { type: s }));
const o = t("a", { href: i, download: e });
document.body.append(o);
o.click();
o.remove();
setTimeout(() => URL.revokeObjectURL(i), 1e4);
};
const i = async (t, e) => {
try {
await navigator.clipboard.writeText(t);
} catch {
e.focus();
e.select();
document.execCommand("copy");
}
};
const o = (e, s) => t("option", { value: e, text: s });
const a = (e, s, n) => t("label", { class: "mn-field" }, t("span", { class: "mn-label", text: e }), s, null);
let r = 0;
const l = (t) => `mn-${t}-${++r}-${Math.random().toString(36).slice(2, 7)}`;
const c = (t, e) => {
t.append(e);
e.addEventListener("pointerdown", (t) => {
const e = t.button === 0 && t.target.closest("button");
if (!e || e.disabled) return;
const s = (n) => {
if (n.pointerId !== t.pointerId) return;
document.removeEventListener("pointerup", s, true);
document.removeEventListener("pointercancel", s, true);
const i = Math.hypot(n.clientX - t.clientX, n.clientY - t.clientY) < 6;
if (n.type === "pointerup" && i && !e.contains(n.target) && e.isConnected) e.click();
};
document.addEventListener("pointerup", s, true);
document.addEventListener("pointercancel", s, true);
});
};
const h = (e) => {
if (!e || !/^[\w-]+$/.test(e)) return () => {};
const s = t("style", {
text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none ` + `!important; }`,
});
document.head.append(s);
return () => s.remove();
};
const d = (t) => [1, 3, 5].map((e) => parseInt(t.slice(e, e + 2), 16));
const m = ([t, e, s]) => `rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;
const u = ([t, e, s]) => (0.2126 * t + 0.7152 * e + 0.0722 * s) / 255;
const p = (t) => {
const e = t.map(d),
s = e.length - 1;
return (t) => {
const n = Math.min(1, Math.max(0, t)) * s,
i = Math.min(s - 1, Math.floor(n)),
o = n - i;
return e[i].map((t, s) => t + o * (e[i + 1][s] - t));
};
};
const f = {
light: {
diverging: p(["#0a3a75", "#2f7fc1", "#a6cdec", "#f9f9f7", "#fbc98f", "#dd7f1d", "#853703"]),
single: p(["#f9f9f7", "#b9d8ee", "#5a9fd4", "#1f62a6", "#08264f"]),
missing: [214, 214, 214],
ink: "#1c1c1c",
},
dark: {
diverging: p(["#a9d6ff", "#4a9be0", "#22507d", "#202328", "#7a4515", "#dd8430", "#ffd0a0"]),
single: p(["#202328", "#1d4a73", "#2f7fc1", "#7cbcf0", "#e6f4ff"]),
missing: [78, 82, 88],
ink: "#f2f2f2",
},
};
const g = (e) => {
const s = getComputedStyle(e.closest(".mnemoscope") ?? e);
const n = (t, e) => s.getPropertyValue(t).trim() || e;
const i = t("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
i.fillStyle = "#ffffff";
i.fillStyle = s.backgroundColor;
i.fillRect(0, 0, 1, 1);
const o = [...i.getImageData(0, 0, 1, 1).data].slice(0, 3),
a = u(o) < 0.4;
const r = a ? f.dark : f.light;
return {
dark: a,
...r,
page: o,
text: s.color,
muted: n("--mn-muted", "#666"),
accent: n("--mn-accent", "#0b6bcb"),
background: s.backgroundColor,
font: n("--mn-font", "system-ui, sans-serif"),
mono: n("--mn-mono", "monospace"),
};
};
const w = (t) => {
const e = new MutationObserver(() => requestAnimationFrame(t));
for (const t of [document.documentElement, document.body])
e.observe(t, {
attributes: true,
attributeFilter: ["class", "style", "data-jp-theme-name", "data-jp-theme-light", "data-vscode-theme-kind"],
});
const s = matchMedia("(prefers-color-scheme: dark)");
s.addEventListener("change", t);
return () => {
e.disconnect();
s.removeEventListener("change", t);
};
};
const b = (t) => {
if (t === "") return "∅";
return t
.replace(/ /g, "·")
.replace(/\r?\n/g, "⏎")
.replace(/\t/g, "⇥")
.replace(
/[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
(t) => `‹${t.codePointAt(0).toString(16).padStart(4, "0")}›`,
);
};
const v = (t, e) => ([...t].length > e ? [...t].slice(0, e - 1).join("") + "…" : t);
const y = (t) => {
if (t === null || t === undefined || Number.isNaN(t)) return "no value";
if (!Number.isFinite(t)) return t > 0 ? "∞" : "−∞";
const e = Math.abs(t);
const s =
e === 0
? "0"
: e >= 1e5 || e < 1e-4
? e.toExponential(2)
: e >= 100
? e.toFixed(1)
: e >= 1
? e.toFixed(2)
: e.toFixed(3);
return (t < 0 && Number(s) !== 0 ? "−" : "") + s;
};
const x = (t) => (t >= 0.1 ? (100 * t).toFixed(0) : t >= 0.001 ? (100 * t).toFixed(1) : "<0.1") + "%";
const k = (t) =>
t.map((t) => (typeof t === "string" ? `"${t.replace(/"/g, '""')}"` : Number.isNaN(t) ? "" : String(t))).join(",") +
"\r\n";
const $ = (t) => {
let e = 0;
for (const s of t) {
const t = Math.abs(s);
if (t > e && Number.isFinite(t)) e = t;
}
return e;
};
const M = (t) => t === null || t === undefined || Number.isNaN(t);
const S = (s, n, { title: i, start: o, stop: a }) => {
const r = t("button", {
class: "mn-button mn-primary",
type: "button",
"data-testid": "run",
text: "Run",
title: i,
onclick: o,
});
const l = t("button", {
class: "mn-button",
type: "button",
"data-testid": "stop",
text: "Stop",
title: "Stop after the layer in progress; finished layers stay",
onclick: a,
});
const c = t("div", { class: "mn-progress-fill" }),
h = t("span", { class: "mn-note", "data-testid": "progress", role: "status" });
const d = t(
"div",
{
class: "mn-progress",
role: "progressbar",
"aria-label": "Layers computed",
"aria-valuemin": 0,
"aria-valuemax": 100,
},
c,
);
const m = t("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
const u = () => {
const i = s.get("status"),
o = s.get("progress"),
a = o.total ? Math.round((100 * o.done) / o.total) : 0,
r = s.get("error");
l.disabled = i !== "running";
n().setAttribute("data-status", i);
d.hidden = i !== "running" && i !== "stopping";
c.style.width = `${a}%`;
d.setAttribute("aria-valuenow", a);
e(h, o.text ?? "");
m.hidden = !r.text;
m.replaceChildren(...(r.text ? [t("strong", { text: r.title }), t("pre", { text: r.text })] : []));
};
return {
run: r,
error: m,
draw: u,
element: t("div", { class: "mn-run" }, r, l, t("div", { class: "mn-status" }, d, h)),
};
};
const T = (e, s, n) =>
t(
"div",
{ class: "mn-predictions" },
t("h4", { text: e }),
t(
"ol",
{},
...s.map(([e, s]) => {
const [i, o, a = ""] = n.get(e) ?? [];
return t(
"li",
{},
t("span", { class: "mn-p-bar", style: `width:${(100 * s).toFixed(1)}%` }),
t("code", { text: v(b(e), 18), title: b(e) }),
i ? t("span", { class: `mn-tag ${a}`, text: i, title: o, "aria-label": o }) : null,
t("span", { class: "mn-p", text: x(s) }),
);
}),
),
);
const L = (t, { title: e, subtitle: s, bar: n, limit: i, low: o = y(-i) }) => {
const a = "http://www.w3.org/2000/svg",
r = f.light;
const l = (t, e, s) => {
const n = document.createElementNS(a, t);
for (const [t, s] of Object.entries(e)) n.setAttribute(t, s);
if (s !== undefined) n.textContent = s;
return n;
};
const c = t.columnLabels.map((t) => v(t.text, 24)),
h = Math.max(4, Math.min(26, 900 / t.columns)),
d = Math.max(4, Math.min(14, 600 / t.rows));
const u = Math.max(1, Math.ceil(11 / h)),
p = Math.max(1, Math.ceil(11 / d)),
g = Math.max(1, ...c.map((t) => [...t].length)) * 6.1,
w = g + 4 > h;
const b = 46,
x = 48,
k = b + h * t.columns + Math.max(20, g * 0.55) + 70,
$ = x + d * t.rows + g * 0.87 + 36;
const M = l("svg", {
xmlns: a,
width: Math.ceil(k),
height: Math.ceil($),
viewBox: `0 0 ${Math.ceil(k)} ${Math.ceil($)}`,
"font-family": "DejaVu Sans, Arial, sans-serif",
"font-size": 10,
});
M.append(
l("rect", { width: "100%", height: "100%", fill: "#ffffff" }),
l("text", { x: b, y: 18, "font-size": 12, "font-weight": "bold" }, e),
l("text", { x: b, y: 34, fill: "#555555" }, s),
);
const S = (e) => x + (t.flip ? t.rows - 1 - e : e) * d;
for (let e = 0; e < t.rows; e++)
for (let s = 0; s < t.columns; s++)
M.append(
l("rect", {
x: (b + s * h).toFixed(2),
y: S(e).toFixed(2),
width: (h + 0.2).toFixed(2),
height: (d + 0.2).toFixed(2),
fill: m(t.colour(e, s, r) ?? r.missing),
}),
);
M.append(
l("rect", {
x: b,
y: x,
width: h * t.columns,
height: d * t.rows,
fill: "none",
stroke: "#888888",
"stroke-width": 0.75,
}),
);
for (let e = 0; e < t.rows; e += p)
M.append(l("text", { x: b - 4, y: S(e) + d / 2 + 3.5, "text-anchor": "end" }, t.rowLabels[e]));
const T = x + d * t.rows;
for (let e = 0; e < t.columns; e += u) {
const s = b + (e + 0.5) * h - (w ? 2 : 0);
M.append(
l(
"text",
{
transform: `translate(${s.toFixed(1)} ${T + (w ? 9 : 13)})${w ? " rotate(60)" : ""}`,
"text-anchor": w ? "start" : "middle",
"font-family": "DejaVu Sans Mono, monospace",
"font-weight": t.columnLabels[e].strong ? "bold" : "normal",
},
c[e],
),
);
}
M.append(
l(
"text",
{ transform: `translate(12 ${x + (d * t.rows) / 2}) rotate(-90)`, "text-anchor": "middle", fill: "#555555" },
t.rowTitle,
),
l("text", { x: b, y: $ - 8, fill: "#555555" }, t.columnTitle),
);
const L = b + h * t.columns + 14,
j = 60,
C = Math.min(160, d * t.rows);
for (let t = 0; t < j; t++)
M.append(
l("rect", { x: L, y: x + (C * t) / j, width: 9, height: C / j + 0.3, fill: m(r.diverging(1 - t / (j - 1))) }),
);
for (const [t, e] of [
[y(i), 0],
["0", 0.5],
[o, 1],
])
M.append(l("text", { x: L + 13, y: x + C * e + 4 }, t));
M.append(
l(
"text",
{ transform: `translate(${L + 50} ${x + C / 2}) rotate(90)`, "text-anchor": "middle", fill: "#555555" },
n,
),
);
return { text: new XMLSerializer().serializeToString(M), width: Math.ceil(k), height: Math.ceil($) };
};
const j = (e, s = 3) =>
new Promise((n, i) => {
const o = new Image();
o.onload = () => {
const i = t("canvas", { width: e.width * s, height: e.height * s });
const a = i.getContext("2d");
a.scale(s, s);
a.drawImage(o, 0, 0);
i.toBlob(n, "image/png");
};
o.onerror = () => i(new Error("the browser could not draw the figure"));
o.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(e.text);
});
const C = (t) => {
const e = t.reduce((t, e) => t + e.width, 0),
s = Math.max(...t.map((t) => t.height));
let n = 0;
const i = t
.map((t) => {
const e = n;
n += t.width;
return t.text.replace("<svg ", `<svg x="${e}" `);
})
.join("");
return {
text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${s}" viewBox="0 0 ${e} ` +
`${s}"><rect width="100%" height="100%" fill="#ffffff"/>${i}</svg>`,
width: e,
height: s,
};
};
const E = (s, o, { stem: r, figure: l, table: c, example: h }) => {
const d = t("textarea", {
class: "mn-code",
readonly: true,
rows: 12,
spellcheck: "false",
"aria-label": "Python that reproduces this view",
"data-testid": "code",
});
const m = t("input", { type: "text", "data-testid": "path", placeholder: h, spellcheck: "false" });
const u = t("div", { class: "mn-note", "data-testid": "saved", role: "status" }),
p = t("input", { type: "checkbox", "data-testid": "overwrite" });
const f = () => o("save", { path: m.value, overwrite: p.checked });
m.onkeydown = (t) => {
if (t.key === "Enter") f();
};
const g = (e, s, n, i = "") =>
t("button", { type: "button", class: `mn-button ${i}`, "data-testid": e, text: s, onclick: n });
const w = async (t) => {
const s = t.currentTarget;
await i(d.value, d);
e(s, "Copied");
setTimeout(() => e(s, "Copy"), 1500);
};
const b = t(
"div",
{},
t(
"div",
{ class: "mn-buttons" },
g("svg", "Figure (SVG)", () => n(`${r()}.svg`, "image/svg+xml", l().text)),
g("png", "Figure (PNG)", async () => n(`${r()}.png`, "image/png", await j(l()))),
g("csv", "Data (CSV)", () => n(`${r()}.csv`, "text/csv", c())),
),
t(
"div",
{ class: "mn-saverow" },
a("Save the labelled data on the kernel’s machine as", m),
g("save", "Save", f),
t("label", { class: "mn-check" }, p, "replace what is there"),
),
u,
);
const v = t(
"details",
{ class: "mn-more", "data-testid": "export" },
t("summary", { text: "Export and code" }),
b,
t(
"div",
{ class: "mn-side-head" },
t("span", { class: "mn-label", text: "Python that reproduces this view" }),
g("copy", "Copy", w, "mn-small"),
),
d,
);
const y = () => {
const t = s.get("saved");
e(u, t.text ?? "");
u.classList.toggle("mn-bad", t.ok === false);
d.value = s.get("code");
};
return { element: v, files: b, draw: y };
};
const A = { minWidth: 3, maxWidth: 46, minHeight: 3, maxHeight: 22, label: 11 };
class N {
constructor({ label: e, testid: s, name: n, hover: i = () => {}, select: o = () => {}, key: a = () => false }) {
Object.assign(this, { name: n, onHover: i, onSelect: o, onKey: a });
this.focus = { row: 0, column: 0 };
this.hovered = null;
this.selected = null;
this.cone = null;
this.marks = [];
this.grid = null;
const r = l("cell");
this.cell = t("div", { role: "gridcell", id: r, "data-testid": `${s}-cell` });
this.rowLabels = t("canvas", { class: "mn-rows", "aria-hidden": "true" });
this.base = t("canvas", { "aria-hidden": "true" });
this.overlay = t("canvas", { class: "mn-overlay", "aria-hidden": "true" });
this.stack = t("div", { class: "mn-stack" }, this.base, this.overlay);
this.scroller = t("div", { class: "mn-scroll" }, this.stack);
this.tip = t("div", { class: "mn-tip", "aria-hidden": "true", "data-testid": `${s}-tip`, hidden: true });
this.cellRow = t("div", { class: "mn-hidden", role: "row" }, this.cell);
this.element = t(
"div",
{
class: "mn-map",
role: "grid",
tabindex: "0",
"aria-label": e,
"aria-activedescendant": r,
"aria-readonly": "true",
"data-testid": s,
onkeydown: (t) => this.keydown(t),
onfocus: () => this.showFocus(),
onblur: () => {
this.hideTip();
this.drawOverlay();
},
},
this.cellRow,
this.rowLabels,
this.scroller,
this.tip,
);
this.stack.addEventListener("mousemove", (t) => this.mousemove(t));
this.stack.addEventListener("mouseleave", () => {
this.hovered = null;
this.hideTip();
this.drawOverlay();
this.onHover(null);
});
this.stack.addEventListener("click", (t) => {
const e = this.at(t);
if (e) {
this.focus = e;
this.element.focus({ preventScroll: true });
this.hideTip();
this.choose();
}
});
}
update(t, e) {
const s = this.grid;
this.grid = t;
this.width = e;
if (!s || s.rows !== t.rows || s.columns !== t.columns) {
this.focus = t.start ?? { row: t.flip ? t.rows - 1 : 0, column: 0 };
this.hovered = null;
this.selected = null;
this.cone = null;
}
this.focus = { row: Math.min(this.focus.row, t.rows - 1), column: Math.min(this.focus.column, t.columns - 1) };
this.element.setAttribute("aria-rowcount", t.rows);
this.element.setAttribute("aria-colcount", t.columns);
this.draw();
}
layout() {
const { rows: t, columns: e, rowLabels: s, columnLabels: n } = this.grid,
i = this.base.getContext("2d");
i.font = `${A.label}px ${this.theme.mono}`;
const o = (t) => Math.max(0, ...t.slice(0, 2e3).map((t) => i.measureText(t).width));
this.left = Math.ceil(o(s)) + (this.grid.rowTitle ? 26 : 10);
const a = Math.max(60, this.width - this.left - 4);
const r = e * t > 2e4;
this.cw = this.grid.cellWidth ?? Math.max(r ? 1 : A.minWidth, Math.min(A.maxWidth, Math.floor(a / e)));
if (!this.grid.cellWidth && e <= 400) this.cw = Math.max(this.cw, Math.min(12, A.maxWidth));
this.cw = Math.max(1, Math.min(this.cw, Math.floor(12e3 / e)));
const l = this.grid.height ?? 430;
this.ch = this.grid.cellHeight ?? Math.max(r ? 1 : A.minHeight, Math.min(A.maxHeight, Math.floor(l / t)));
this.ch = Math.max(1, Math.min(this.ch, Math.floor(12e3 / t)));
const c = n.map((t) => v(t.text, 20)),
h = o(c);
this.turned = h + 6 > this.cw;
this.every = this.turned ? Math.max(1, Math.ceil((A.label + 2) / this.cw)) : 1;
this.rowEvery = Math.max(1, Math.ceil((A.label + 2) / this.ch));
this.plotWidth = this.cw * e;
this.plotHeight = this.ch * t;
this.lean = this.turned ? Math.ceil(h * 0.5) + 8 : 0;
this.bottom = (this.turned ? Math.ceil(h * 0.87) + 14 : 20) + (this.grid.columnTitle ? 16 : 0);
this.turnedTexts = c;
}
size(t, e, s) {
const n = Math.min(window.devicePixelRatio || 1, e * s > 4e6 ? 1 : 3);
t.width = Math.max(1, Math.round(e * n));
t.height = Math.max(1, Math.round(s * n));
t.style.width = `${e}px`;
t.style.height = `${s}px`;
const i = t.getContext("2d");
i.setTransform(n, 0, 0, n, 0, 0);
i.clearRect(0, 0, e, s);
return i;
}
y(t) {
return (this.grid.flip ? this.grid.rows - 1 - t : t) * this.ch;
}
draw() {
if (!this.grid || !this.element.isConnected) return;
this.theme = g(this.element);
this.layout();
const { rows: t, columns: e, columnLabels: s, rowLabels: n } = this.grid,
{ theme: i } = this;
const o = this.size(this.base, this.plotWidth + this.lean, this.plotHeight + this.bottom);
this.size(this.overlay, this.plotWidth, this.plotHeight);
if (this.grid.image) {
o.imageSmoothingEnabled = false;
o.drawImage(this.grid.image(i), 0, 0, this.plotWidth, this.plotHeight);
} else this.drawCells(o);
o.strokeStyle = i.muted;
o.globalAlpha = 0.5;
o.lineWidth = 1;
o.strokeRect(0.5, 0.5, this.plotWidth - 1, this.plotHeight - 1);
o.globalAlpha = 1;
o.textBaseline = "middle";
for (let t = 0; t < e; t += this.every) {
const { strong: e } = s[t],
n = (t + 0.5) * this.cw;
o.font = `${e ? "bold " : ""}${A.label}px ${i.mono}`;
o.fillStyle = e ? i.accent : i.text;
o.save();
if (this.turned) {
o.translate(n - 2, this.plotHeight + 6);
o.rotate(Math.PI / 3);
o.textAlign = "left";
} else {
o.translate(n, this.plotHeight + 10);
o.textAlign = "center";
}
o.fillText(this.turnedTexts[t], 0, 0);
o.restore();
}
o.fillStyle = i.muted;
o.font = `${A.label}px ${i.font}`;
if (this.grid.columnTitle) {
o.textAlign = "left";
o.fillText(this.grid.columnTitle, 0, this.plotHeight + this.bottom - 8);
}
const a = this.size(this.rowLabels, this.left, this.plotHeight + this.bottom);
a.textAlign = "right";
a.textBaseline = "middle";
a.fillStyle = i.text;
a.font = `${A.label}px ${i.mono}`;
for (let e = 0; e < t; e += this.rowEvery) a.fillText(n[e], this.left - 5, this.y(e) + this.ch / 2);
if (this.grid.rowTitle) {
a.save();
a.translate(8, this.plotHeight / 2);
a.rotate(-Math.PI / 2);
a.textAlign = "center";
a.fillStyle = i.muted;
a.font = `${A.label}px ${i.font}`;
a.fillText(this.grid.rowTitle, 0, 0);
a.restore();
}
this.drawOverlay();
this.announce();
}
drawCells(e) {
const { rows: s, columns: n, colour: i } = this.grid,
o = t("canvas", { width: n, height: s }),
a = o.getContext("2d");
const r = a.createImageData(n, s),
l = [];
for (let t = 0; t < s; t++)
for (let e = 0; e < n; e++) {
const o = i(t, e, this.theme),
a = 4 * ((this.grid.flip ? s - 1 - t : t) * n + e),
[c, h, d] = o ?? this.theme.missing;
if (!o && l.length < 2e4) l.push([t, e]);
r.data[a] = c;
r.data[a + 1] = h;
r.data[a + 2] = d;
r.data[a + 3] = 255;
}
a.putImageData(r, 0, 0);
e.imageSmoothingEnabled = false;
e.drawImage(o, 0, 0, this.plotWidth, this.plotHeight);
if (this.cw < 5 || this.ch < 5) return;
e.strokeStyle = this.theme.background;
e.globalAlpha = 0.55;
e.lineWidth = 1.5;
e.beginPath();
for (const [t, s] of l) {
const n = s * this.cw,
i = this.y(t);
e.moveTo(n, i + this.ch);
e.lineTo(n + this.cw, i);
}
e.stroke();
e.globalAlpha = 1;
}
drawOverlay() {
if (!this.grid || !this.cw) return;
const t = this.overlay.getContext("2d"),
{ cw: e, ch: s, theme: n } = this;
t.clearRect(0, 0, this.plotWidth, this.plotHeight);
if (this.cone) this.drawCone(t);
const i = (i, o, a, r = []) => {
if (!i) return;
const l = i.column * e,
c = this.y(i.row);
t.setLineDash(r);
for (const [i, r] of [
[n.background, 2],
[o, 0],
]) {
t.strokeStyle = i;
t.lineWidth = a + r;
t.strokeRect(l + 1, c + 1, Math.max(e - 2, 1), Math.max(s - 2, 1));
}
t.setLineDash([]);
};
for (const i of this.marks) {
const o = i.column * e + e / 2,
a = this.y(i.row) + s / 2,
r = Math.max(2, Math.min(4, e / 4, s / 4));
t.beginPath();
t.arc(o, a, r, 0, 7);
t.fillStyle = n.background;
t.fill();
t.lineWidth = 1.5;
t.strokeStyle = n.text;
t.stroke();
}
i(this.hovered, n.text, 1);
i(this.linked, n.text, 1, [3, 2]);
if (document.activeElement === this.element) i(this.focus, n.accent, 2, [4, 2]);
i(this.selected, n.text, 2.5);
}
drawCone(t) {
const { rows: e, columns: s } = this.grid,
n = (t, n) => t >= 0 && t < e && n >= 0 && n < s && this.cone(t, n),
{ cw: i, ch: o } = this;
t.lineWidth = 1;
const a = i >= 6 && o >= 6,
r = new Path2D();
for (let l = 0; l < e; l++)
for (let e = 0; e < s; e++) {
if (!n(l, e)) continue;
const s = e * i,
c = this.y(l),
h = this.grid.flip ? l + 1 : l - 1,
d = this.grid.flip ? l - 1 : l + 1;
if (a) {
const n = this.grid.colour ? (this.grid.colour(l, e, this.theme) ?? this.theme.missing) : this.theme.missing;
t.fillStyle = u(n) > 0.45 ? "rgba(0,0,0,.62)" : "rgba(255,255,255,.75)";
t.fillRect(s + i / 2 - 1, c + o / 2 - 1, 2, 2);
}
if (!n(h, e)) {
r.moveTo(s, c + 0.5);
r.lineTo(s + i, c + 0.5);
}
if (!n(d, e)) {
r.moveTo(s, c + o - 0.5);
r.lineTo(s + i, c + o - 0.5);
}
if (!n(l, e - 1)) {
r.moveTo(s + 0.5, c);
r.lineTo(s + 0.5, c + o);
}
if (!n(l, e + 1)) {
r.moveTo(s + i - 0.5, c);
r.lineTo(s + i - 0.5, c + o);
}
}
t.strokeStyle = this.theme.background;
t.lineWidth = 3;
t.stroke(r);
t.strokeStyle = this.theme.text;
t.lineWidth = 1.25;
t.stroke(r);
}
at(t) {
if (!this.grid) return null;
const e = this.overlay.getBoundingClientRect(),
s = Math.floor((t.clientX - e.left) / this.cw),
n = Math.floor((t.clientY - e.top) / this.ch);
if (s < 0 || s >= this.grid.columns || n < 0 || n >= this.grid.rows) return null;
return { row: this.grid.flip ? this.grid.rows - 1 - n : n, column: s };
}
mousemove(t) {
const e = this.at(t);
if (e && this.hovered && e.row === this.hovered.row && e.column === this.hovered.column) return;
this.hovered = e;
this.drawOverlay();
this.onHover(e);
if (e) this.showTip(e);
else this.hideTip();
}
showTip(e) {
if (!this.grid.tip) return;
const s = this.grid.tip(e.row, e.column);
this.tip.replaceChildren(
...s.map(([e, s]) =>
t("div", {}, e ? t("span", { class: "mn-tip-label", text: `${e} ` }) : null, t("span", { text: s })),
),
);
this.tip.hidden = false;
const n = this.element.getBoundingClientRect(),
i = this.overlay.getBoundingClientRect();
const o = i.left - n.left + (e.column + 1) * this.cw + 8,
a = i.top - n.top + this.y(e.row) + this.ch + 6;
const r = o + this.tip.offsetWidth > n.width ? o - this.cw - this.tip.offsetWidth - 16 : o;
const l = a + this.tip.offsetHeight > n.height ? a - this.ch - this.tip.offsetHeight - 12 : a;
this.tip.style.left = `${Math.max(0, r)}px`;
this.tip.style.top = `${Math.max(0, l)}px`;
}
hideTip() {
this.tip.hidden = true;
}
showFocus() {
this.drawOverlay();
this.announce();
}
announce() {
const { row: t, column: e } = this.focus;
this.cellRow.setAttribute("aria-rowindex", (this.grid.flip ? this.grid.rows - 1 - t : t) + 1);
this.cell.setAttribute("aria-colindex", e + 1);
this.cell.setAttribute(
"aria-selected",
String(!!this.selected && this.selected.row === t && this.selected.column === e),
);
const s = this.name(t, e);
this.cell.setAttribute("aria-label", s);
}
choose() {
this.selected = { ...this.focus };
this.onSelect(this.selected);
this.drawOverlay();
this.announce();
}
keydown(t) {
if (!this.grid || t.ctrlKey || t.altKey || t.metaKey) return;
const e = this.grid.flip ? 1 : -1,
{ rows: s, columns: n } = this.grid,
i = { ...this.focus };
const o = {
ArrowUp: [e, 0],
ArrowDown: [-e, 0],
ArrowLeft: [0, -1],
ArrowRight: [0, 1],
PageUp: [5 * e, 0],
PageDown: [-5 * e, 0],
Home: [0, -n],
End: [0, n],
};
if (t.key in o) {
i.row += o[t.key][0];
i.column += o[t.key][1];
} else if (t.key === "Enter" || t.key === " ") {
this.choose();
} else if (t.key === "Escape") {
this.hideTip();
return;
} else {
if (this.onKey(t.key, this.focus)) {
t.preventDefault();
t.stopPropagation();
}
return;
}
t.preventDefault();
t.stopPropagation();
this.focus = { row: Math.min(s - 1, Math.max(0, i.row)), column: Math.min(n - 1, Math.max(0, i.column)) };
this.reveal();
this.drawOverlay();
this.announce();
this.onHover(this.focus);
this.showTip(this.focus);
}
reveal() {
const t = this.focus.column * this.cw,
e = this.scroller;
if (t < e.scrollLeft) e.scrollLeft = t - 20;
else if (t + this.cw > e.scrollLeft + e.clientWidth) e.scrollLeft = t + this.cw - e.clientWidth + 20;
const s = this.y(this.focus.row);
if (s < e.scrollTop) e.scrollTop = s;
else if (s + this.ch > e.scrollTop + e.clientHeight && e.scrollHeight > e.clientHeight)
e.scrollTop = s + this.ch - e.clientHeight;
}
}
class O {
constructor(e) {
this.canvas = t("canvas", { width: 128, height: 8, "aria-hidden": "true" });
this.low = t("span");
this.middle = t("span");
this.high = t("span");
this.title = t("div", { class: "mn-bar-title" });
this.element = t(
"div",
{ class: "mn-bar", role: "img", "data-testid": e },
this.title,
this.canvas,
t("div", { class: "mn-bar-ends" }, this.low, this.middle, this.high),
);
}
update({ ramp: t, low: s, middle: n = "", high: i, title: o }) {
const a = this.canvas.getContext("2d");
for (let e = 0; e < 128; e++) {
a.fillStyle = m(t(e / 127));
a.fillRect(e, 0, 1, 8);
}
e(this.low, s);
e(this.middle, n);
e(this.high, i);
e(this.title, o);
this.element.setAttribute("aria-label", `Colour scale: ${o}, from ${s} to ${i}`);
}
}
const H = (t) => {
if (!t) return new Float32Array(0);
const e = t instanceof ArrayBuffer ? new DataView(t) : t;
const s = e.byteOffset % 4 ? e.buffer.slice(e.byteOffset, e.byteOffset + e.byteLength) : e.buffer;
return new Float32Array(s, e.byteOffset % 4 ? 0 : e.byteOffset, Math.floor(e.byteLength / 4));
};
const W = (t) => {
const e = [];
return {
undo: e,
send: (e, s = {}) => t.send({ type: e, ...s }),
listen: (s, n) => {
for (const i of s) {
t.on(`change:${i}`, n);
e.push(() => t.off(`change:${i}`, n));
}
},
set: (e) => {
for (const [s, n] of Object.entries(e)) t.set(s, n);
t.save_changes();
},
};
};
const R = (e, s, n) => {
const i = {},
a = { range: true, number: true };
const r = (t, s) => {
const n = typeof e.get(t);
return n === "boolean" ? s.checked : n !== "number" ? s.value : s.value === "" ? NaN : Number(s.value);
};
const l = (t, e) => {
if (t.type === "checkbox") t.checked = e;
else t.value = e;
};
const c = (t, o) => {
i[t] = o;
o.setAttribute("data-testid", t);
let c,
h,
d = 0;
const m = () => {
clearTimeout(h);
const s = d - Date.now();
if (s > 0) {
h = setTimeout(m, s);
return;
}
if (r(t, o) !== e.get(t)) {
l(o, e.get(t));
o.dispatchEvent(new Event("pulled"));
}
};
m();
s([t], m);
const u = () => {
clearTimeout(c);
const s = r(t, o);
if (!Number.isNaN(s) && s !== e.get(t)) n({ [t]: s });
};
o.addEventListener("change", u);
if (o.tagName !== "SELECT" && o.type !== "checkbox")
o.addEventListener("input", () => {
clearTimeout(c);
if (a[o.type]) {
d = Date.now() + 700;
u();
} else c = setTimeout(u, 350);
});
o.flush = u;
return o;
};
return {
inputs: i,
bound: c,
shown: () =>
Object.fromEntries(
Object.entries(i)
.map(([t, e]) => [t, r(t, e)])
.filter(([, t]) => !Number.isNaN(t)),
),
flush: () => {
for (const t of Object.values(i)) t.flush();
},
area: (e, s = {}) => c(e, t("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", ...s })),
line: (e, s) => c(e, t("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: s })),
choose: (e, s) => c(e, t("select", {}, ...s.map(([t, e]) => o(t, e)))),
};
};
const _ = (t) => (t === null ? "–" : Math.abs(t) < 1e-4 ? "0" : (t > 0 ? "+" : "") + y(t));
const F = (t) => (M(t) ? "–" : `${y(100 * Math.exp(t))}%`);
const P = (t) => (M(t) ? "–" : `× ${y(Math.exp(t))}`);
const D = (t) => String(t).replace("-", "−");
const I = (t) => (M(t) ? "–" : y(t));
const B = (t) => {
if (!t?.shape) return null;
const e = { ...t, memory: H(t.memory), control: t.control ? H(t.control) : null };
e.at = (e, s) => e * t.shape[1] + s;
return e;
};
const z = (t) => {
let e = "layer,strength,condition,injected,change_logprob_nats,logprob_nats,top_token\r\n";
for (const s of t.control ? ["memory", "control"] : ["memory"])
for (let n = 0; n < t.shape[0]; n++)
for (let i = 0; i < t.shape[1]; i++) {
const o = t[s][t.at(n, i)];
e += k([t.rows[n], t.columns[i], s, t[`${s}_name`], o, o + t.base, t[`${s}_top`]?.[t.at(n, i)] ?? ""]);
}
return e;
};
const K = [
["activation", "activation"],
["unembed", "unembed (as published)"],
["embed", "embed"],
["head", "one head’s output"],
];
const U = [
["all", "every token"],
["not_first", "all but the start token"],
["last", "last token"],
["subject", "the subject’s tokens"],
];
const V = [
["shuffled", "another entity"],
["random_tokens", "random tokens"],
["random_direction", "random direction"],
];
const q = ["prompt", "memory", "answer", "subject", "layer", "strength", "encoder", "head", "positions", "relative"];
const G = { low: -10, high: 20, step: 0.25 };
function X({ model: n, el: i }) {
const r = (e) => t("span", { class: "mn-note", text: e });
const { undo: l, send: d, listen: m } = W(n),
u = n.get("model_info");
const p = (t) => {
for (const [e, s] of Object.entries(t)) n.set(e, s);
d("move", { fields: { ...x(), ...t } });
dt();
};
const { inputs: f, bound: g, shown: x, flush: k, area: j, line: A, choose: H } = R(n, m, p);
const X = n.get("items"),
Y = t(
"select",
{ "data-testid": "item", onchange: () => d("item", { index: Number(Y.value) }) },
o("-1", "an item …"),
...X.map((t, e) => o(String(e), v(t, 80))),
);
const J = t("div", { class: "mn-note", "data-testid": "notes" });
const Q = t(
"div",
{ class: "mn-form" },
t("div", {}, X.length ? a("Take from the items given", Y) : null, a("Prompt", j("prompt", { rows: 3 })), J),
t(
"div",
{ class: "mn-pair" },
a("Memory (what is injected)", A("memory", "e.g. “France”")),
a("Answer (optional for the lists)", A("answer", "e.g. “ Paris”, with its space")),
t(
"div",
{ class: "mn-wide" },
a(
"Subject: the words of the prompt that stand for the memory (optional)",
A("subject", "e.g. “the country of the Eiffel Tower”"),
),
),
),
);
const Z = g(
"layer",
t("input", { type: "range", min: 0, max: Math.max(0, u.layers - 1), step: 1, "aria-label": "Layer" }),
),
tt = t("output", { class: "mn-p", "data-testid": "layer-text" });
const et = g("strength", t("input", { type: "number", step: G.step, "aria-label": "Strength, any number" }));
const st = t("span", { class: "mn-label" });
const nt = t("input", {
type: "range",
min: G.low,
max: G.high,
step: G.step,
"data-testid": "strength-slider",
"aria-label": `Strength, ${G.low} to ${G.high}`,
});
nt.oninput = () => {
et.value = nt.value;
et.dispatchEvent(new Event("input"));
};
const it = () => {
nt.value = et.value;
e(st, at.checked ? "Strength (× the stream’s RMS)" : "Strength (× the memory’s vector)");
e(tt, `${Z.value} of ${Math.max(0, u.layers - 1)}`);
};
for (const t of [Z, et]) for (const e of ["input", "pulled"]) t.addEventListener(e, it);
const ot = a(
"Head",
H(
"head",
Array.from({ length: u.heads }, (t, e) => [String(e), String(e)]),
),
);
const at = g("relative", t("input", { type: "checkbox" }));
const rt = t(
"div",
{ class: "mn-controls" },
t("div", { class: "mn-field mn-slide" }, t("span", { class: "mn-label" }, "Layer ", tt), Z),
t("div", { class: "mn-field mn-slide" }, st, t("div", { class: "mn-both" }, nt, et)),
a("Encoder", H("encoder", K)),
ot,
a("Injected at", H("positions", U)),
t(
"label",
{ class: "mn-check", title: "Strength 1 is then a vector as long as the residual stream is at that layer" },
at,
"relative to the residual stream’s RMS",
),
);
const lt = t("div", { class: "mn-lists", "data-testid": "lists" });
const ct = t(
"section",
{ class: "mn-live", "data-testid": "live", "aria-label": "Next token", "aria-live": "polite" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Next token" }), t("span", { class: "mn-note", text: "" })),
lt,
);
const ht = ct.querySelector(".mn-note");
const dt = () => {
const t = n.get("live").fields,
e = x();
ct.setAttribute("data-fresh", String(!!t && q.every((s) => String(t[s]) === String(e[s]))));
};
const mt = (e) =>
t(
"table",
{ class: "mn-table", "data-testid": "answer-change" },
t(
"thead",
{},
t("tr", {}, ...["", "unedited", "injected", "change"].map((e) => t("th", { scope: "col", text: e }))),
),
t(
"tbody",
{},
...[
["probability", F(e.before), F(e.after), P(e.change)],
["ln p (nats)", I(e.before), I(e.after), _(e.change)],
...(e.tokens > 1 ? [["first token, ln p", I(e.first.before), I(e.first.after), _(e.first.change)]] : []),
].map(([e, ...s]) => t("tr", {}, t("th", { scope: "row", text: e }), ...s.map((e) => t("td", { text: e })))),
),
);
const ut = () => {
const s = n.get("live");
ct.setAttribute("data-status", s.status ?? "empty");
e(J, s.notes ?? "");
e(ht, s.what ?? "");
dt();
if (s.status === "error") {
lt.replaceChildren(
t(
"div",
{ class: "mn-error", role: "alert", "data-testid": "live-error" },
t("strong", { text: s.title }),
t("pre", { text: s.text }),
),
);
return;
}
if (!s.before) {
lt.replaceChildren(
t(
"div",
{ class: "mn-empty" },
t("strong", { text: s.status === "running" ? "Reading the prompt …" : "Nothing to read yet" }),
t("p", { text: s.text ?? "" }),
),
);
return;
}
const i = new Map([
...(s.memory_tokens ?? []).map((t) => [t, ["M", "token of the memory", "mn-foil"]]),
...(s.answer ? [[s.answer.token, ["A", s.answer.tokens > 1 ? "first token of the answer" : "answer"]]] : []),
]);
const o = s.after
? T("with the injection", s.after, i)
: t(
"div",
{ class: "mn-predictions" },
t("h4", { text: "with the injection" }),
t("p", { class: "mn-note", text: s.text }),
);
lt.replaceChildren(
T("unedited", s.before, i),
o,
t(
"div",
{ class: "mn-answer" },
s.answer
? t(
"div",
{},
t("h4", {
text:
s.answer.tokens > 1
? `whole answer ${b(s.answer.text)}, ${s.answer.tokens} tokens`
: `answer ${b(s.answer.text)}`,
}),
mt(s.answer),
)
: t("p", { class: "mn-note", text: "Give an answer to see how its probability changes." }),
s.after && s.kl !== null
? t("p", { class: "mn-note", text: `KL(unedited ‖ injected) over all tokens: ${y(s.kl)} nats` })
: null,
s.warning ? t("div", { class: "mn-warning", "data-testid": "live-warning", text: s.warning }) : null,
t("p", {
class: "mn-note mn-key",
text:
`ten most likely next tokens` +
`${s.answer ? (s.answer.tokens > 1 ? " · A first token of the answer" : " · A answer") : ""}` +
`${s.memory_tokens?.length ? " · M memory" : ""}`,
}),
),
);
};
const pt = () => {
k();
d("run", { fields: x() });
};
const {
run: ft,
error: gt,
draw: wt,
element: bt,
} = S(n, () => ie, { title: "Compute both maps (Ctrl+Enter in a text field)", start: pt, stop: () => d("stop") });
const vt = a("Other entity", A("other", "e.g. “Norway”")),
yt = a("Seed", g("seed", t("input", { type: "number", step: 1, min: 0 })));
const xt = t(
"div",
{ class: "mn-controls" },
a("Control", H("control", V)),
vt,
yt,
a("Strengths (a list, or first:last:step)", A("strengths", "-2:8:1")),
bt,
);
let kt = null,
$t = null;
const Mt = t("div", { class: "mn-caption", "data-testid": "caption" }),
St = t("div", { class: "mn-warning", "data-testid": "stale", hidden: true });
const Tt = t(
"select",
{ "data-testid": "scale", "aria-label": "Colour scale", onchange: () => Ut() },
o("gain", "scale: largest gain, at least 1 nat"),
o("all", "scale: largest change"),
);
const Lt = new O("colour-bar");
const jt = t("div", { class: "mn-toolbar" }, Tt, Lt.element);
const Ct = t(
"div",
{ class: "mn-empty", "data-testid": "empty" },
t("strong", { text: "No map yet" }),
t("p", {
text:
"Run injects the memory, and beside it a control, at every layer with every strength, and shows " +
"how far the answer’s log-probability moves. A cell can be clicked as soon as it is there: the " +
"sliders go to it.",
}),
);
const Et = (t) => (t === "memory" ? "memory" : "control");
const At = (t, e) => {
const s = kt.at(t, e),
n = [["memory", `${_(kt.memory[s])} nats`]];
if (kt.control)
n.push(["control", `${_(kt.control[s])} nats`], ["memory − control", `${_(kt.memory[s] - kt.control[s])} nats`]);
n.push(["answer", F(kt.base + kt.memory[s])]);
if (kt.memory_top?.[s]) n.push(["most likely", b(kt.memory_top[s])]);
return n;
};
const Nt = (t, e) => `layer ${kt.rows[t]}, strength ${D(kt.columns[e])}`;
const Ot = (t) => (e, s) =>
kt ? [Nt(e, s), `${Et(t)} map`, ...At(e, s).map(([t, e]) => `${t} ${e}`)].join(", ") : "";
const Ht = (t) => {
if (kt) p({ layer: kt.rows[t.row], strength: kt.columns[t.column] });
};
const Wt = (t) => (e) => {
if (t.grid) {
t.linked = e;
t.drawOverlay();
}
};
const Rt = (t, e, s) =>
new N({
label:
`${e}: change of the answer’s log-probability by layer and strength. Arrow keys move, Enter ` +
`sets the sliders.`,
testid: t === "memory" ? "map" : "control-map",
name: Ot(t),
select: Ht,
hover: (t) => Wt(s())(t),
});
const _t = Rt("memory", "Memory", () => Ft),
Ft = Rt("control", "Control", () => _t);
const Pt = t("h4", { "data-testid": "map-title" }),
Dt = t("h4", { "data-testid": "control-title" });
const It = t("div", {}, Dt, Ft.element),
Bt = t("div", { class: "mn-maps" }, t("div", {}, Pt, _t.element), It);
const zt = t(
"section",
{ class: "mn-section", "aria-label": "Maps" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Every layer and strength" })),
xt,
gt,
Ct,
Mt,
St,
jt,
Bt,
);
const Kt = (t, e) => ({
rows: kt.shape[0],
columns: kt.shape[1],
rowLabels: kt.rows.map(String),
columnLabels: kt.columns.map((t) => ({ text: D(t) })),
rowTitle: "layer",
columnTitle: kt.axis,
flip: true,
colour: (s, n, i) => {
const o = kt[t][kt.at(s, n)];
return Number.isNaN(o) ? null : i.diverging(0.5 + o / e / 2);
},
tip: (t, e) => [["", Nt(t, e)], ...At(t, e)],
});
const Ut = () => {
if (!ie.isConnected) return;
Ct.hidden = !!kt;
for (const t of [Mt, jt, Bt, se.files]) t.hidden = !kt;
if (!kt) {
St.hidden = true;
return;
}
const s = kt.control ? [kt.memory, kt.control] : [kt.memory],
n = Math.max(...s.map($)) || 1;
const i = Math.max(0, ...s.map((t) => $(t.map((t) => Math.max(t, 0))))),
o = Tt.value === "gain" ? Math.max(1, i) : n,
a = n > o * 1.0001;
const r = zt.clientWidth || 600,
l = !!kt.control && r > 600,
c = l ? (r - 24) / 2 : r;
Bt.classList.toggle("mn-two", l);
It.hidden = !kt.control;
const h = x(),
d = { row: kt.rows.indexOf(h.layer), column: kt.columns.indexOf(h.strength) },
m = d.row >= 0 && d.column >= 0 ? d : null;
for (const [t, e] of [
[_t, "memory"],
[Ft, "control"],
])
if (kt[e]) {
t.update(Kt(e, o), c);
t.selected = m;
t.drawOverlay();
t.announce();
}
e(Pt, `memory: ${b(kt.memory_name)}`);
e(Dt, `control: ${kt.control_what}`);
e(
Mt,
`${kt.what} · answer ${b(kt.answer)}, unedited ${F(kt.base)} (${y(kt.base)} ` +
`nats)` +
(M(kt.single) ? "" : `; after “${b(kt.explicit).replace(/·/g, " ")}” ${F(kt.single)}`) +
`${kt.complete ? "" : " · partial"}`,
);
const u = Object.entries(kt.fields)
.filter(([t, e]) => String(e) !== String(h[t]))
.map(([t]) => t);
St.hidden = !u.length;
St.replaceChildren(
`These maps were computed with another ${u.join(", ")}. `,
t("button", {
type: "button",
class: "mn-button mn-small",
"data-testid": "restore",
text: "Back to the maps’ question",
onclick: () => p(kt.fields),
}),
);
const f = "change of the answer’s log-probability (nats)";
const g = `${a ? "≤ " : ""}${y(-o)}`;
Lt.update({ ramp: _t.theme.diverging, low: g, middle: "0", high: _(o), title: f });
$t = () =>
C(
["memory", "control"]
.filter((t) => kt[t])
.map((t) =>
L(Kt(t, o), {
title: v(t === "memory" ? `memory: ${b(kt.memory_name)}` : `control: ${kt.control_what}`, 44),
subtitle: v(`${kt.model}: ${kt.what}; answer ${b(kt.answer)}`, 64),
bar: "change of ln p (nats)",
limit: o,
low: g,
}),
),
);
};
const Vt = () => {
kt = B(n.get("map"));
Ut();
};
const qt = t("div", { class: "mn-texts", "data-testid": "texts" }),
Gt = g("new_tokens", t("input", { type: "number", min: 1, max: 500, step: 1 }));
const Xt = t("button", {
type: "button",
class: "mn-button",
"data-testid": "generate",
text: "Generate",
onclick: () => {
k();
d("generate", { fields: x() });
},
});
const Yt = () => {
if (n.get("generation").status === "running") d("stop_generation");
};
const Jt = t("button", {
type: "button",
class: "mn-button",
"data-testid": "stop-generation",
text: "Stop",
"aria-label": "Stop writing",
title: "Stop after the token in progress; what is written stays (Escape in this section)",
onclick: Yt,
});
const Qt = t("span", { class: "mn-note", role: "status", "data-testid": "generation-status" });
const Zt = t(
"section",
{
class: "mn-section",
"data-testid": "generation",
"aria-label": "Generation",
onkeydown: (t) => {
if (t.key === "Escape") {
t.stopPropagation();
Yt();
}
},
},
t("div", { class: "mn-side-head" }, t("h3", { text: "What it goes on to say" })),
t(
"div",
{ class: "mn-controls" },
a("New tokens", Gt),
t("div", { class: "mn-both" }, Xt, Jt, Qt),
r("greedy; “every token” and “all but the start token” include the new ones"),
),
qt,
);
const te = (e, s, n) =>
t(
"div",
{},
t("h4", { text: e }),
t(
"p",
{ class: "mn-said", "data-testid": `said-${n}` },
r(s.prompt),
s[n] === undefined ? r(s.status === "stopped" ? " (not begun)" : " …") : t("strong", { text: s[n] }),
s.cut === n ? r(" (stopped here)") : null,
),
);
const ee = () => {
const s = n.get("generation");
Zt.setAttribute("data-status", s.status ?? "idle");
Jt.disabled = s.status !== "running";
e(Qt, { running: "writing …", stopping: "stopping …", stopped: "stopped; what was written stays" }[s.status] ?? "");
qt.replaceChildren(
...(!s.status
? []
: s.status === "error"
? [t("div", { class: "mn-error", role: "alert" }, t("strong", { text: s.title }), t("pre", { text: s.text }))]
: [te("unedited", s, "before"), te(`injected: ${s.what}`, s, "after")]),
);
};
const se = E(n, d, {
stem: () => `injection_${kt.fields.encoder}_${kt.fields.positions}`,
figure: () => $t(),
table: () => z(kt),
example: "injection.zarr, injection.nc, injection.csv, injection.parquet",
});
const ne = () => {
ot.hidden = f.encoder.value !== "head";
vt.hidden = f.control.value !== "shuffled";
yt.hidden = f.control.value === "shuffled";
for (const t of f.positions.options) t.disabled = t.value === "subject" && !f.subject.value.trim();
it();
};
const ie = t(
"div",
{
class: "mnemoscope mn-bench",
"data-testid": "injection-bench",
"data-lm-suppress-shortcuts": "true",
role: "region",
"aria-label": "Injection bench",
onkeydown: (t) => {
if (t.key === "Enter" && (t.ctrlKey || t.metaKey)) {
t.preventDefault();
t.stopPropagation();
ft.click();
}
},
},
t(
"header",
{ class: "mn-header" },
t("h2", { text: "Injection bench" }),
t("span", { class: "mn-chip", "data-testid": "model", text: u.text }),
),
Q,
rt,
ct,
zt,
Zt,
se.element,
);
c(i, ie);
m(["live"], ut);
m(["map"], Vt);
m([...q, "control", "other", "seed", "strengths"], () => {
ne();
Ut();
dt();
});
m(["status", "progress", "error"], wt);
m(["saved", "code"], se.draw);
m(["generation"], ee);
ie.addEventListener("input", () => {
ne();
dt();
});
l.push(w(Ut), s(ie, zt, Ut), h(n.get("static_key")));
ne();
ut();
Vt();
wt();
ee();
se.draw();
return () => {
for (const t of l) t();
};
}
var Y = { render: X };
export { Y as default };
