// Built by npm run build from 10 files, sha256 4f9af865f35ee7f1007b8c5efece6a566918f40bc3a34c1c27b4dce1d81490bc
const t = (t, e = {}, ...n) => {
const s = document.createElement(t);
for (const [t, n] of Object.entries(e)) {
if (n === null || n === undefined || n === false) continue;
if (t === "text") s.textContent = n;
else if (t.startsWith("on")) s.addEventListener(t.slice(2), n);
else if (t === "value") s.value = n;
else s.setAttribute(t, n === true ? "" : n);
}
s.append(...n.filter((t) => t !== null && t !== undefined));
if (s.matches("input, select, textarea, button, summary, [tabindex]"))
s.setAttribute("data-lm-suppress-shortcuts", "true");
return s;
};
const e = (t, e) => {
if (t.textContent !== e) t.textContent = e;
};
const n = (t, e, n) => {
let s = 0;
const i = new ResizeObserver(() => {
const i = t.isConnected ? e.clientWidth : 0,
o = Math.abs(i - s) > 4;
s = i;
if (!i) return;
if (o) n();
t.setAttribute("data-ready", "true");
});
i.observe(e);
return () => i.disconnect();
};
const s = (e, n, s) => {
const i = URL.createObjectURL(s instanceof Blob ? s : new Blob([s], { type: n }));
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
const o = (e, n) => t("option", { value: e, text: n });
const a = (e, n, s) => t("label", { class: "mn-field" }, t("span", { class: "mn-label", text: e }), n, null);
let r = 0;
const l = (t) => `mn-${t}-${++r}-${Math.random().toString(36).slice(2, 7)}`;
const c = (t, e) => {
t.append(e);
e.addEventListener("pointerdown", (t) => {
const e = t.button === 0 && t.target.closest("button");
if (!e || e.disabled) return;
const n = (s) => {
if (s.pointerId !== t.pointerId) return;
document.removeEventListener("pointerup", n, true);
document.removeEventListener("pointercancel", n, true);
const i = Math.hypot(s.clientX - t.clientX, s.clientY - t.clientY) < 6;
if (s.type === "pointerup" && i && !e.contains(s.target) && e.isConnected) e.click();
};
document.addEventListener("pointerup", n, true);
document.addEventListener("pointercancel", n, true);
});
};
const h = (e) => {
if (!e || !/^[\w-]+$/.test(e)) return () => {};
const n = t("style", {
text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none ` + `!important; }`,
});
document.head.append(n);
return () => n.remove();
};
const d = (t) => [1, 3, 5].map((e) => parseInt(t.slice(e, e + 2), 16));
const u = ([t, e, n]) => `rgb(${Math.round(t)},${Math.round(e)},${Math.round(n)})`;
const m = ([t, e, n]) => (0.2126 * t + 0.7152 * e + 0.0722 * n) / 255;
const f = (t) => {
const e = t.map(d),
n = e.length - 1;
return (t) => {
const s = Math.min(1, Math.max(0, t)) * n,
i = Math.min(n - 1, Math.floor(s)),
o = s - i;
return e[i].map((t, n) => t + o * (e[i + 1][n] - t));
};
};
const p = {
light: {
diverging: f(["#0a3a75", "#2f7fc1", "#a6cdec", "#f9f9f7", "#fbc98f", "#dd7f1d", "#853703"]),
single: f(["#f9f9f7", "#b9d8ee", "#5a9fd4", "#1f62a6", "#08264f"]),
missing: [214, 214, 214],
ink: "#1c1c1c",
},
dark: {
diverging: f(["#a9d6ff", "#4a9be0", "#22507d", "#202328", "#7a4515", "#dd8430", "#ffd0a0"]),
single: f(["#202328", "#1d4a73", "#2f7fc1", "#7cbcf0", "#e6f4ff"]),
missing: [78, 82, 88],
ink: "#f2f2f2",
},
};
const g = (e) => {
const n = getComputedStyle(e.closest(".mnemoscope") ?? e);
const s = (t, e) => n.getPropertyValue(t).trim() || e;
const i = t("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
i.fillStyle = "#ffffff";
i.fillStyle = n.backgroundColor;
i.fillRect(0, 0, 1, 1);
const o = [...i.getImageData(0, 0, 1, 1).data].slice(0, 3),
a = m(o) < 0.4;
const r = a ? p.dark : p.light;
return {
dark: a,
...r,
page: o,
text: n.color,
muted: s("--mn-muted", "#666"),
accent: s("--mn-accent", "#0b6bcb"),
background: n.backgroundColor,
font: s("--mn-font", "system-ui, sans-serif"),
mono: s("--mn-mono", "monospace"),
};
};
const w = (t) => {
const e = new MutationObserver(() => requestAnimationFrame(t));
for (const t of [document.documentElement, document.body])
e.observe(t, {
attributes: true,
attributeFilter: ["class", "style", "data-jp-theme-name", "data-jp-theme-light", "data-vscode-theme-kind"],
});
const n = matchMedia("(prefers-color-scheme: dark)");
n.addEventListener("change", t);
return () => {
e.disconnect();
n.removeEventListener("change", t);
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
const x = (t) => {
if (t === null || t === undefined || Number.isNaN(t)) return "no value";
if (!Number.isFinite(t)) return t > 0 ? "∞" : "−∞";
const e = Math.abs(t);
const n =
e === 0
? "0"
: e >= 1e5 || e < 1e-4
? e.toExponential(2)
: e >= 100
? e.toFixed(1)
: e >= 1
? e.toFixed(2)
: e.toFixed(3);
return (t < 0 && Number(n) !== 0 ? "−" : "") + n;
};
const y = (t) => (t >= 0.1 ? (100 * t).toFixed(0) : t >= 0.001 ? (100 * t).toFixed(1) : "<0.1") + "%";
const $ = (t) =>
t.map((t) => (typeof t === "string" ? `"${t.replace(/"/g, '""')}"` : Number.isNaN(t) ? "" : String(t))).join(",") +
"\r\n";
const k = (t) => {
let e = 0;
for (const n of t) {
const t = Math.abs(n);
if (t > e && Number.isFinite(t)) e = t;
}
return e;
};
const M = (n, s, { title: i, start: o, stop: a }) => {
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
const u = t("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
const m = () => {
const i = n.get("status"),
o = n.get("progress"),
a = o.total ? Math.round((100 * o.done) / o.total) : 0,
r = n.get("error");
l.disabled = i !== "running";
s().setAttribute("data-status", i);
d.hidden = i !== "running" && i !== "stopping";
c.style.width = `${a}%`;
d.setAttribute("aria-valuenow", a);
e(h, o.text ?? "");
u.hidden = !r.text;
u.replaceChildren(...(r.text ? [t("strong", { text: r.title }), t("pre", { text: r.text })] : []));
};
return {
run: r,
error: u,
draw: m,
element: t("div", { class: "mn-run" }, r, l, t("div", { class: "mn-status" }, d, h)),
};
};
const T = (e, n, s) =>
t(
"div",
{ class: "mn-predictions" },
t("h4", { text: e }),
t(
"ol",
{},
...n.map(([e, n]) => {
const [i, o, a = ""] = s.get(e) ?? [];
return t(
"li",
{},
t("span", { class: "mn-p-bar", style: `width:${(100 * n).toFixed(1)}%` }),
t("code", { text: v(b(e), 18), title: b(e) }),
i ? t("span", { class: `mn-tag ${a}`, text: i, title: o, "aria-label": o }) : null,
t("span", { class: "mn-p", text: y(n) }),
);
}),
),
);
const S = (t, { title: e, subtitle: n, bar: s, limit: i, low: o = x(-i) }) => {
const a = "http://www.w3.org/2000/svg",
r = p.light;
const l = (t, e, n) => {
const s = document.createElementNS(a, t);
for (const [t, n] of Object.entries(e)) s.setAttribute(t, n);
if (n !== undefined) s.textContent = n;
return s;
};
const c = t.columnLabels.map((t) => v(t.text, 24)),
h = Math.max(4, Math.min(26, 900 / t.columns)),
d = Math.max(4, Math.min(14, 600 / t.rows));
const m = Math.max(1, Math.ceil(11 / h)),
f = Math.max(1, Math.ceil(11 / d)),
g = Math.max(1, ...c.map((t) => [...t].length)) * 6.1,
w = g + 4 > h;
const b = 46,
y = 48,
$ = b + h * t.columns + Math.max(20, g * 0.55) + 70,
k = y + d * t.rows + g * 0.87 + 36;
const M = l("svg", {
xmlns: a,
width: Math.ceil($),
height: Math.ceil(k),
viewBox: `0 0 ${Math.ceil($)} ${Math.ceil(k)}`,
"font-family": "DejaVu Sans, Arial, sans-serif",
"font-size": 10,
});
M.append(
l("rect", { width: "100%", height: "100%", fill: "#ffffff" }),
l("text", { x: b, y: 18, "font-size": 12, "font-weight": "bold" }, e),
l("text", { x: b, y: 34, fill: "#555555" }, n),
);
const T = (e) => y + (t.flip ? t.rows - 1 - e : e) * d;
for (let e = 0; e < t.rows; e++)
for (let n = 0; n < t.columns; n++)
M.append(
l("rect", {
x: (b + n * h).toFixed(2),
y: T(e).toFixed(2),
width: (h + 0.2).toFixed(2),
height: (d + 0.2).toFixed(2),
fill: u(t.colour(e, n, r) ?? r.missing),
}),
);
M.append(
l("rect", {
x: b,
y: y,
width: h * t.columns,
height: d * t.rows,
fill: "none",
stroke: "#888888",
"stroke-width": 0.75,
}),
);
for (let e = 0; e < t.rows; e += f)
M.append(l("text", { x: b - 4, y: T(e) + d / 2 + 3.5, "text-anchor": "end" }, t.rowLabels[e]));
const S = y + d * t.rows;
for (let e = 0; e < t.columns; e += m) {
const n = b + (e + 0.5) * h - (w ? 2 : 0);
M.append(
l(
"text",
{
transform: `translate(${n.toFixed(1)} ${S + (w ? 9 : 13)})${w ? " rotate(60)" : ""}`,
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
{ transform: `translate(12 ${y + (d * t.rows) / 2}) rotate(-90)`, "text-anchor": "middle", fill: "#555555" },
t.rowTitle,
),
l("text", { x: b, y: k - 8, fill: "#555555" }, t.columnTitle),
);
const C = b + h * t.columns + 14,
L = 60,
A = Math.min(160, d * t.rows);
for (let t = 0; t < L; t++)
M.append(
l("rect", { x: C, y: y + (A * t) / L, width: 9, height: A / L + 0.3, fill: u(r.diverging(1 - t / (L - 1))) }),
);
for (const [t, e] of [
[x(i), 0],
["0", 0.5],
[o, 1],
])
M.append(l("text", { x: C + 13, y: y + A * e + 4 }, t));
M.append(
l(
"text",
{ transform: `translate(${C + 50} ${y + A / 2}) rotate(90)`, "text-anchor": "middle", fill: "#555555" },
s,
),
);
return { text: new XMLSerializer().serializeToString(M), width: Math.ceil($), height: Math.ceil(k) };
};
const C = (e, n = 3) =>
new Promise((s, i) => {
const o = new Image();
o.onload = () => {
const i = t("canvas", { width: e.width * n, height: e.height * n });
const a = i.getContext("2d");
a.scale(n, n);
a.drawImage(o, 0, 0);
i.toBlob(s, "image/png");
};
o.onerror = () => i(new Error("the browser could not draw the figure"));
o.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(e.text);
});
const L = (n, o, { stem: r, figure: l, table: c, example: h }) => {
const d = t("textarea", {
class: "mn-code",
readonly: true,
rows: 12,
spellcheck: "false",
"aria-label": "Python that reproduces this view",
"data-testid": "code",
});
const u = t("input", { type: "text", "data-testid": "path", placeholder: h, spellcheck: "false" });
const m = t("div", { class: "mn-note", "data-testid": "saved", role: "status" }),
f = t("input", { type: "checkbox", "data-testid": "overwrite" });
const p = () => o("save", { path: u.value, overwrite: f.checked });
u.onkeydown = (t) => {
if (t.key === "Enter") p();
};
const g = (e, n, s, i = "") =>
t("button", { type: "button", class: `mn-button ${i}`, "data-testid": e, text: n, onclick: s });
const w = async (t) => {
const n = t.currentTarget;
await i(d.value, d);
e(n, "Copied");
setTimeout(() => e(n, "Copy"), 1500);
};
const b = t(
"div",
{},
t(
"div",
{ class: "mn-buttons" },
g("svg", "Figure (SVG)", () => s(`${r()}.svg`, "image/svg+xml", l().text)),
g("png", "Figure (PNG)", async () => s(`${r()}.png`, "image/png", await C(l()))),
g("csv", "Data (CSV)", () => s(`${r()}.csv`, "text/csv", c())),
),
t(
"div",
{ class: "mn-saverow" },
a("Save the labelled data on the kernel’s machine as", u),
g("save", "Save", p),
t("label", { class: "mn-check" }, f, "replace what is there"),
),
m,
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
const x = () => {
const t = n.get("saved");
e(m, t.text ?? "");
m.classList.toggle("mn-bad", t.ok === false);
d.value = n.get("code");
};
return { element: v, files: b, draw: x };
};
const A = { minWidth: 3, maxWidth: 46, minHeight: 3, maxHeight: 22, label: 11 };
class _ {
constructor({ label: e, testid: n, name: s, hover: i = () => {}, select: o = () => {}, key: a = () => false }) {
Object.assign(this, { name: s, onHover: i, onSelect: o, onKey: a });
this.focus = { row: 0, column: 0 };
this.hovered = null;
this.selected = null;
this.cone = null;
this.marks = [];
this.grid = null;
const r = l("cell");
this.cell = t("div", { role: "gridcell", id: r, "data-testid": `${n}-cell` });
this.rowLabels = t("canvas", { class: "mn-rows", "aria-hidden": "true" });
this.base = t("canvas", { "aria-hidden": "true" });
this.overlay = t("canvas", { class: "mn-overlay", "aria-hidden": "true" });
this.stack = t("div", { class: "mn-stack" }, this.base, this.overlay);
this.scroller = t("div", { class: "mn-scroll" }, this.stack);
this.tip = t("div", { class: "mn-tip", "aria-hidden": "true", "data-testid": `${n}-tip`, hidden: true });
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
"data-testid": n,
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
const n = this.grid;
this.grid = t;
this.width = e;
if (!n || n.rows !== t.rows || n.columns !== t.columns) {
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
const { rows: t, columns: e, rowLabels: n, columnLabels: s } = this.grid,
i = this.base.getContext("2d");
i.font = `${A.label}px ${this.theme.mono}`;
const o = (t) => Math.max(0, ...t.slice(0, 2e3).map((t) => i.measureText(t).width));
this.left = Math.ceil(o(n)) + (this.grid.rowTitle ? 26 : 10);
const a = Math.max(60, this.width - this.left - 4);
const r = e * t > 2e4;
this.cw = this.grid.cellWidth ?? Math.max(r ? 1 : A.minWidth, Math.min(A.maxWidth, Math.floor(a / e)));
if (!this.grid.cellWidth && e <= 400) this.cw = Math.max(this.cw, Math.min(12, A.maxWidth));
this.cw = Math.max(1, Math.min(this.cw, Math.floor(12e3 / e)));
const l = this.grid.height ?? 430;
this.ch = this.grid.cellHeight ?? Math.max(r ? 1 : A.minHeight, Math.min(A.maxHeight, Math.floor(l / t)));
this.ch = Math.max(1, Math.min(this.ch, Math.floor(12e3 / t)));
const c = s.map((t) => v(t.text, 20)),
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
size(t, e, n) {
const s = Math.min(window.devicePixelRatio || 1, e * n > 4e6 ? 1 : 3);
t.width = Math.max(1, Math.round(e * s));
t.height = Math.max(1, Math.round(n * s));
t.style.width = `${e}px`;
t.style.height = `${n}px`;
const i = t.getContext("2d");
i.setTransform(s, 0, 0, s, 0, 0);
i.clearRect(0, 0, e, n);
return i;
}
y(t) {
return (this.grid.flip ? this.grid.rows - 1 - t : t) * this.ch;
}
draw() {
if (!this.grid || !this.element.isConnected) return;
this.theme = g(this.element);
this.layout();
const { rows: t, columns: e, columnLabels: n, rowLabels: s } = this.grid,
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
const { strong: e } = n[t],
s = (t + 0.5) * this.cw;
o.font = `${e ? "bold " : ""}${A.label}px ${i.mono}`;
o.fillStyle = e ? i.accent : i.text;
o.save();
if (this.turned) {
o.translate(s - 2, this.plotHeight + 6);
o.rotate(Math.PI / 3);
o.textAlign = "left";
} else {
o.translate(s, this.plotHeight + 10);
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
for (let e = 0; e < t; e += this.rowEvery) a.fillText(s[e], this.left - 5, this.y(e) + this.ch / 2);
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
const { rows: n, columns: s, colour: i } = this.grid,
o = t("canvas", { width: s, height: n }),
a = o.getContext("2d");
const r = a.createImageData(s, n),
l = [];
for (let t = 0; t < n; t++)
for (let e = 0; e < s; e++) {
const o = i(t, e, this.theme),
a = 4 * ((this.grid.flip ? n - 1 - t : t) * s + e),
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
for (const [t, n] of l) {
const s = n * this.cw,
i = this.y(t);
e.moveTo(s, i + this.ch);
e.lineTo(s + this.cw, i);
}
e.stroke();
e.globalAlpha = 1;
}
drawOverlay() {
if (!this.grid || !this.cw) return;
const t = this.overlay.getContext("2d"),
{ cw: e, ch: n, theme: s } = this;
t.clearRect(0, 0, this.plotWidth, this.plotHeight);
if (this.cone) this.drawCone(t);
const i = (i, o, a, r = []) => {
if (!i) return;
const l = i.column * e,
c = this.y(i.row);
t.setLineDash(r);
for (const [i, r] of [
[s.background, 2],
[o, 0],
]) {
t.strokeStyle = i;
t.lineWidth = a + r;
t.strokeRect(l + 1, c + 1, Math.max(e - 2, 1), Math.max(n - 2, 1));
}
t.setLineDash([]);
};
for (const i of this.marks) {
const o = i.column * e + e / 2,
a = this.y(i.row) + n / 2,
r = Math.max(2, Math.min(4, e / 4, n / 4));
t.beginPath();
t.arc(o, a, r, 0, 7);
t.fillStyle = s.background;
t.fill();
t.lineWidth = 1.5;
t.strokeStyle = s.text;
t.stroke();
}
i(this.hovered, s.text, 1);
i(this.linked, s.text, 1, [3, 2]);
if (document.activeElement === this.element) i(this.focus, s.accent, 2, [4, 2]);
i(this.selected, s.text, 2.5);
}
drawCone(t) {
const { rows: e, columns: n } = this.grid,
s = (t, s) => t >= 0 && t < e && s >= 0 && s < n && this.cone(t, s),
{ cw: i, ch: o } = this;
t.lineWidth = 1;
const a = i >= 6 && o >= 6,
r = new Path2D();
for (let l = 0; l < e; l++)
for (let e = 0; e < n; e++) {
if (!s(l, e)) continue;
const n = e * i,
c = this.y(l),
h = this.grid.flip ? l + 1 : l - 1,
d = this.grid.flip ? l - 1 : l + 1;
if (a) {
const s = this.grid.colour ? (this.grid.colour(l, e, this.theme) ?? this.theme.missing) : this.theme.missing;
t.fillStyle = m(s) > 0.45 ? "rgba(0,0,0,.62)" : "rgba(255,255,255,.75)";
t.fillRect(n + i / 2 - 1, c + o / 2 - 1, 2, 2);
}
if (!s(h, e)) {
r.moveTo(n, c + 0.5);
r.lineTo(n + i, c + 0.5);
}
if (!s(d, e)) {
r.moveTo(n, c + o - 0.5);
r.lineTo(n + i, c + o - 0.5);
}
if (!s(l, e - 1)) {
r.moveTo(n + 0.5, c);
r.lineTo(n + 0.5, c + o);
}
if (!s(l, e + 1)) {
r.moveTo(n + i - 0.5, c);
r.lineTo(n + i - 0.5, c + o);
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
n = Math.floor((t.clientX - e.left) / this.cw),
s = Math.floor((t.clientY - e.top) / this.ch);
if (n < 0 || n >= this.grid.columns || s < 0 || s >= this.grid.rows) return null;
return { row: this.grid.flip ? this.grid.rows - 1 - s : s, column: n };
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
const n = this.grid.tip(e.row, e.column);
this.tip.replaceChildren(
...n.map(([e, n]) =>
t("div", {}, e ? t("span", { class: "mn-tip-label", text: `${e} ` }) : null, t("span", { text: n })),
),
);
this.tip.hidden = false;
const s = this.element.getBoundingClientRect(),
i = this.overlay.getBoundingClientRect();
const o = i.left - s.left + (e.column + 1) * this.cw + 8,
a = i.top - s.top + this.y(e.row) + this.ch + 6;
const r = o + this.tip.offsetWidth > s.width ? o - this.cw - this.tip.offsetWidth - 16 : o;
const l = a + this.tip.offsetHeight > s.height ? a - this.ch - this.tip.offsetHeight - 12 : a;
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
const n = this.name(t, e);
this.cell.setAttribute("aria-label", n);
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
{ rows: n, columns: s } = this.grid,
i = { ...this.focus };
const o = {
ArrowUp: [e, 0],
ArrowDown: [-e, 0],
ArrowLeft: [0, -1],
ArrowRight: [0, 1],
PageUp: [5 * e, 0],
PageDown: [-5 * e, 0],
Home: [0, -s],
End: [0, s],
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
this.focus = { row: Math.min(n - 1, Math.max(0, i.row)), column: Math.min(s - 1, Math.max(0, i.column)) };
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
const n = this.y(this.focus.row);
if (n < e.scrollTop) e.scrollTop = n;
else if (n + this.ch > e.scrollTop + e.clientHeight && e.scrollHeight > e.clientHeight)
e.scrollTop = n + this.ch - e.clientHeight;
}
}
class E {
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
update({ ramp: t, low: n, middle: s = "", high: i, title: o }) {
const a = this.canvas.getContext("2d");
for (let e = 0; e < 128; e++) {
a.fillStyle = u(t(e / 127));
a.fillRect(e, 0, 1, 8);
}
e(this.low, n);
e(this.middle, s);
e(this.high, i);
e(this.title, o);
this.element.setAttribute("aria-label", `Colour scale: ${o}, from ${n} to ${i}`);
}
}
const O = (t) => {
if (!t) return new Float32Array(0);
const e = t instanceof ArrayBuffer ? new DataView(t) : t;
const n = e.byteOffset % 4 ? e.buffer.slice(e.byteOffset, e.byteOffset + e.byteLength) : e.buffer;
return new Float32Array(n, e.byteOffset % 4 ? 0 : e.byteOffset, Math.floor(e.byteLength / 4));
};
const H = (t) => {
const e = [];
return {
undo: e,
send: (e, n = {}) => t.send({ type: e, ...n }),
listen: (n, s) => {
for (const i of n) {
t.on(`change:${i}`, s);
e.push(() => t.off(`change:${i}`, s));
}
},
set: (e) => {
for (const [n, s] of Object.entries(e)) t.set(n, s);
t.save_changes();
},
};
};
const R = (e, n, s) => {
const i = {},
a = { range: true, number: true };
const r = (t, n) => {
const s = typeof e.get(t);
return s === "boolean" ? n.checked : s !== "number" ? n.value : n.value === "" ? NaN : Number(n.value);
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
const u = () => {
clearTimeout(h);
const n = d - Date.now();
if (n > 0) {
h = setTimeout(u, n);
return;
}
if (r(t, o) !== e.get(t)) {
l(o, e.get(t));
o.dispatchEvent(new Event("pulled"));
}
};
u();
n([t], u);
const m = () => {
clearTimeout(c);
const n = r(t, o);
if (!Number.isNaN(n) && n !== e.get(t)) s({ [t]: n });
};
o.addEventListener("change", m);
if (o.tagName !== "SELECT" && o.type !== "checkbox")
o.addEventListener("input", () => {
clearTimeout(c);
if (a[o.type]) {
d = Date.now() + 700;
m();
} else c = setTimeout(m, 350);
});
o.flush = m;
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
area: (e, n = {}) => c(e, t("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", ...n })),
line: (e, n) => c(e, t("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: n })),
choose: (e, n) => c(e, t("select", {}, ...n.map(([t, e]) => o(t, e)))),
};
};
const W = {
normalized: {
label: "normalized effect",
unit: (t) => `normalized effect (0 = ${t.base_name}, 1 = ${t.source_name} run)`,
},
effect: { label: "effect", unit: (t) => `effect: change of ${t.metric}` },
value: { label: "metric value", unit: (t) => `${t.metric} under the edit (white = ${t.base_name} run)` },
};
const N = (t) => {
if (!t?.shape) return null;
const e = { ...t };
for (const n of ["value", "effect", "normalized"]) e[n] = O(t[n]);
e.index = (e, n) => e * t.shape[1] + n;
e.get = (t, n, s) => e[t][e.index(n, s)];
return e;
};
const P = (t) => t.column_name !== "position";
const F = (t, e, n) => `layer ${t.rows[e]}, ${t.column_name} ${t.columns[n]}`;
const z = (t, e) => {
if (P(t)) return [];
const [n, s] = [t.clean_tokens[e] ?? "", t.corrupted_tokens[e] ?? ""];
return n === s
? [["token", b(n)]]
: [
["clean", b(n)],
["corrupted", b(s)],
];
};
const j = (t) => {
let e = `layer,${t.column_name},token_clean,token_corrupted,value,effect,normalized\r\n`;
for (let n = 0; n < t.shape[0]; n++)
for (let s = 0; s < t.shape[1]; s++)
e += $([
t.rows[n],
t.columns[s],
P(t) ? "" : (t.clean_tokens[s] ?? ""),
P(t) ? "" : (t.corrupted_tokens[s] ?? ""),
t.get("value", n, s),
t.get("effect", n, s),
t.get("normalized", n, s),
]);
return e;
};
const D = { head: ["z", "q", "k", "v", "pattern"], expert: ["router", "expert"] };
function I({ model: s, el: i }) {
const { undo: r, send: d, listen: u, set: m } = H(s);
const { inputs: f, shown: p, flush: g, area: $, line: C, choose: A } = R(s, u, m);
const O = (t) => t.map((t) => [t, t]);
const I = t("div", { class: "mn-note", "data-testid": "alignment" });
const {
run: B,
error: K,
draw: U,
element: V,
} = M(s, () => Kt, {
title: "Run this sweep (Ctrl+Enter in a text field)",
start: () => {
g();
d("run", { fields: p() });
},
stop: () => d("stop"),
});
const q = t(
"div",
{
class: "mn-form",
onkeydown: (t) => {
if (t.key === "Enter" && (t.ctrlKey || t.metaKey)) {
t.preventDefault();
t.stopPropagation();
B.click();
}
},
},
a("Clean prompt", $("clean")),
a("Corrupted prompt", $("corrupted")),
t(
"div",
{ class: "mn-pair" },
a("Answer (after clean)", C("answer", "e.g. “ Paris”, with its space")),
a("Foil (after corrupted)", C("foil", "optional for prob, logprob, rank, kl")),
),
t("div", { class: "mn-pair" }, a("Text before both prompts", C("start", "none, e.g. <|endoftext|>")), I),
);
const X = t(
"div",
{ class: "mn-controls" },
a("Site", A("site", O(s.get("sites")))),
a(
"Map",
A(
"over",
s.get("overs").map((t) => [t, `layer × ${t}`]),
),
),
a("Metric", A("metric", O(s.get("metrics")))),
a(
"Direction",
A("direction", [
["denoise", "denoise: clean → corrupted run"],
["noise", "noise: corrupted → clean run"],
]),
),
a(
"Method",
A("method", [
["exact", "exact"],
["attribution", "attribution (AtP)"],
]),
),
V,
);
const Y = t("div", { class: "mn-warning", "data-testid": "warning", hidden: true });
let G = null,
Q = null;
const J = t("div", { class: "mn-caption", "data-testid": "caption" });
const Z = t(
"select",
{ "data-testid": "show", "aria-label": "Quantity shown" },
...Object.entries(W).map(([t, e]) => o(t, e.label)),
);
const tt = t(
"select",
{ "data-testid": "scale", "aria-label": "Colour scale" },
o("auto", "scale: largest value"),
o("one", "scale: −1 to 1"),
);
Z.value = s.get("show");
Z.onchange = () => m({ show: Z.value });
tt.onchange = () => Tt();
const et = t("input", { type: "checkbox", "data-testid": "cone", checked: true, onchange: () => Tt() });
const nt = t(
"select",
{ "data-testid": "compare-mode", "aria-label": "Compare with another run" },
o("off", "compare: off"),
o("side", "side by side with"),
o("difference", "minus"),
);
const st = t("select", { "data-testid": "compare-run", "aria-label": "Run to compare with" });
const it = () => m({ compare: { mode: nt.value, run: Number(st.value) || 0 } });
nt.onchange = it;
st.onchange = it;
const ot = new E("colour-bar");
const at = (t) => (e, n) => {
const s = t();
if (!s) return "";
return [
F(s, e, n),
...z(s, n).map(([t, e]) => `${t} ${e}`),
`value ${x(s.get("value", e, n))}`,
`effect ${x(s.get("effect", e, n))}`,
`normalized ${x(s.get("normalized", e, n))}`,
].join(", ");
};
const rt = (t) => (e) => {
const n = t();
if (n) m({ cell: { run: n.run, layer: n.rows[e.row], column: n.columns[e.column] } });
};
const lt = (t) => (e, n) => {
const s = t();
if (e.toLowerCase() !== "p" || !s) return false;
d("pin", { run: s.run, layer: s.rows[n.row], column: s.columns[n.column] });
return true;
};
const ct = (t) => (e) => {
if (t.grid) {
t.linked = e;
t.drawOverlay();
}
};
const ht = new _({
label: "Patching effect by layer and position. Arrow keys move, Enter explains a cell, P pins it.",
testid: "map",
name: at(() => G),
select: rt(() => G),
key: lt(() => G),
hover: (t) => ct(dt)(t),
});
const dt = new _({
label: "The other run's patching effect",
testid: "other-map",
name: at(() => Q),
select: rt(() => Q),
key: lt(() => Q),
hover: (t) => ct(ht)(t),
});
const ut = t(
"div",
{ class: "mn-empty", "data-testid": "empty" },
t("strong", { text: "No sweep yet" }),
t("p", {
text:
"Run copies one activation at a time from one run into the other and measures how far the answer " +
"moves. Layers fill in from the last to the first; each cell can be hovered and clicked as soon as " +
"it is there.",
}),
);
const mt = t("div", { class: "mn-caption", hidden: true }),
ft = t("div", { class: "mn-caption" }),
pt = t("div", { class: "mn-second", hidden: true }, ft, dt.element);
const gt = t(
"div",
{ class: "mn-toolbar" },
Z,
tt,
t("label", { class: "mn-check" }, et, "causal cone"),
nt,
st,
ot.element,
);
const wt = t("div", { class: "mn-maps" }, t("div", { class: "mn-first" }, mt, ht.element), pt);
const bt = t("section", { class: "mn-mapbox", "aria-label": "Heat map" }, J, gt, ut, wt);
const vt = t("section", {
class: "mn-side",
"data-testid": "side",
"aria-label": "Selected cell",
"aria-live": "polite",
});
const xt = (t) => (tt.value === "one" ? 1 : Math.max(...t.map(k)) || 1);
const yt = (t, e, n) => {
const s = t.columns.map((e, n) => {
if (P(t)) return { text: String(e) };
const [s, i] = [t.clean_tokens[n] ?? "", t.corrupted_tokens[n] ?? ""];
return { text: s === i ? b(s) : `${v(b(s), 10)}|${v(b(i), 10)}`, strong: s !== i };
});
return {
rows: t.shape[0],
columns: t.shape[1],
rowLabels: t.rows.map(String),
columnLabels: s,
rowTitle: "layer",
columnTitle: P(t) ? t.column_name : "token (clean|corrupted where they differ)",
flip: true,
colour: (s, i, o) => {
const a = e(t.index(s, i));
return Number.isNaN(a) ? null : o.diverging(0.5 + a / n / 2);
},
tip: (e, n) => [
["", F(t, e, n)],
...z(t, n),
[t.metric, x(t.get("value", e, n))],
["effect", x(t.get("effect", e, n))],
["normalized", x(t.get("normalized", e, n))],
],
};
};
const $t = (t, e) => (e === "value" ? t.effect : t[e]);
const kt = (t) =>
`${t.name} · ${t.site} · layer × ${t.column_name} · ${t.metric} · ${t.direction}` +
`${t.method === "exact" ? "" : ` · ${t.method}`}${t.complete ? "" : " · partial"}`;
let Mt = null;
const Tt = () => {
if (!Kt.isConnected) return;
const t = s.get("compare"),
n = !!G;
ut.hidden = n;
ht.element.hidden = !n;
gt.hidden = !n;
Ft.hidden = !n;
if (!n) {
e(J, "");
dt.element.hidden = true;
pt.hidden = true;
return;
}
const i = s.get("show"),
o = W[i],
a = Q && t.mode !== "off";
const r = a && Q.shape.join() === G.shape.join() && Q.column_name === G.column_name;
const l = r && t.mode === "difference",
c = a && (t.mode === "side" || !r);
const h = [$t(G, i)];
if (a) h.push($t(Q, i));
let d = (t) => h[0][t],
u = xt(h);
if (l) {
d = (t) => h[0][t] - h[1][t];
u = tt.value === "one" ? 1 : k(h[0].map((t, e) => t - h[1][e])) || 1;
}
const m = bt.clientWidth || 600,
f = c && m > 760 ? (m - 24) / 2 : m;
wt.classList.toggle("mn-two", c && m > 760);
pt.hidden = dt.element.hidden = mt.hidden = !c;
const p = yt(G, d, u);
if (l) {
const t = p.tip;
p.tip = (e, n) => [...t(e, n), [`${o.label} minus ${Q.name}`, x(d(G.index(e, n)))]];
}
const g = s.get("cell"),
w = g.run === undefined ? null : { row: G.rows.indexOf(g.layer), column: G.columns.indexOf(g.column) };
ht.update(p, f);
ht.selected = w && w.row >= 0 && w.column >= 0 && (g.run === G.run || l) ? w : null;
ht.cone = ht.selected && et.checked ? (t, e) => G.rows[t] > G.rows[w.row] && (P(G) || e >= w.column) : null;
ht.marks = s
.get("pins")
.filter((t) => t.run === G.run)
.map((t) => ({ row: G.rows.indexOf(t.layer), column: G.columns.indexOf(t.column) }))
.filter((t) => t.row >= 0 && t.column >= 0);
ht.drawOverlay();
ht.announce();
if (c) {
dt.update(
yt(Q, (t) => h[1][t], u),
f,
);
e(mt, G.name);
e(ft, kt(Q) + (r ? "" : " · another shape, so there is no difference to show"));
}
const b = l ? `${G.name} minus ${Q.name} · ${kt(G)}` : kt(G);
e(J, `${b} · clean ${x(G.clean)}, corrupted ${x(G.corrupted)}`);
const v = i === "value" && !l ? (G.base ?? 0) : 0,
y = ht.theme;
const $ = l ? `difference of ${o.label}` : o.unit(G);
ot.update({ ramp: y.diverging, low: x(v - u), middle: x(v), high: x(v + u), title: $ });
Mt = () =>
S(p, {
title: `${G.model}: ${G.site}, layer × ${G.column_name}`,
subtitle: `${G.metric}, ${G.direction}; clean ${x(G.clean)}, corrupted ${x(G.corrupted)}`,
bar: l ? $ : o.label,
limit: u,
});
};
const St = () => {
G = N(s.get("map"));
Q = N(s.get("other"));
Tt();
};
const Ct = (t, e, n) =>
T(
t,
e,
new Map([
[n.foil, ["F", "foil", "mn-foil"]],
[n.answer, ["A", "answer"]],
]),
);
const Lt = () => {
const e = s.get("detail");
if (e.layer === undefined) {
vt.replaceChildren(
t("h3", { text: "Selected cell" }),
t("p", {
class: "mn-note",
text:
"Click a cell, or move with the arrow keys and press Enter, to see what the model predicts " +
"under that edit beside both unedited runs. P pins a cell.",
}),
);
vt.removeAttribute("data-cell");
return;
}
vt.setAttribute("data-cell", `${e.layer},${e.column}`);
vt.setAttribute("data-status", e.status);
const n = [
["clean token", e.clean_token],
["corrupted token", e.corrupted_token],
]
.filter(([, t]) => t !== undefined && t !== null)
.map(([t, e]) => [t, b(e)]);
for (const t of ["value", "effect", "normalized"]) n.push([t === "value" ? e.metric : t, x(e[t])]);
vt.replaceChildren(
t(
"div",
{ class: "mn-side-head" },
t("h3", { text: `${e.site} · layer ${e.layer}, ${e.column_name} ${e.column}` }),
t("button", {
type: "button",
class: "mn-button",
"data-testid": "pin",
text: "Pin (P)",
onclick: () => d("pin", { run: e.run, layer: e.layer, column: e.column }),
}),
),
t("dl", { class: "mn-facts" }, ...n.flatMap(([e, n]) => [t("dt", { text: e }), t("dd", { text: n })])),
e.status === "error"
? t("pre", { class: "mn-error", role: "alert", text: e.text })
: e.status === "running"
? t("p", { class: "mn-note", text: "Running this one edit …" })
: t(
"div",
{ class: "mn-columns", "data-testid": "predictions" },
Ct("clean run", e.clean, e),
Ct("corrupted run", e.corrupted, e),
Ct(`${e.base_name} + edit`, e.edited, e),
t("p", {
class: "mn-note mn-key",
text: `most likely next tokens · A answer${e.foil ? " · F foil" : ""}`,
}),
),
);
};
const At = (e, n) => t("summary", {}, `${e} `, t("span", { class: "mn-note", text: `(${n})` }));
const _t = t("details", { "data-testid": "pins", class: "mn-more", open: true }),
Et = t("details", { "data-testid": "runs", class: "mn-more", open: true });
const Ot = (e, n) =>
t(
"div",
{ class: "mn-tablebox" },
t(
"table",
{},
t("thead", {}, t("tr", {}, ...e.map((e) => t("th", { scope: "col", text: e })))),
t("tbody", {}, ...n),
),
);
const Ht = (e, n, s) =>
t("button", { type: "button", class: "mn-button mn-small", text: e, "aria-label": n, title: n, onclick: s });
const Rt = () => {
const e = s.get("pins");
_t.hidden = !e.length;
_t.replaceChildren(
At("Pinned cells", e.length),
Ot(
["cell", "run", "clean | corrupted", "value", "effect", "normalized", "top predictions under the edit", ""],
e.map((e) =>
t(
"tr",
{},
t("td", { text: `layer ${e.layer}, ${e.column_name} ${e.column}` }),
t("td", { text: e.name }),
t(
"td",
{},
t("code", {
text:
e.clean_token === undefined || e.clean_token === null
? "all positions"
: e.clean_token === e.corrupted_token
? b(e.clean_token)
: `${b(e.clean_token)} | ${b(e.corrupted_token)}`,
}),
),
...["value", "effect", "normalized"].map((n) => t("td", { class: "mn-number", text: x(e[n]) })),
t(
"td",
{},
t("code", {
text:
(e.edited ?? [])
.slice(0, 3)
.map(([t, e]) => `${v(b(t), 14)} ${y(e)}`)
.join("   ") || "…",
}),
),
t(
"td",
{},
Ht("Show", `Show layer ${e.layer}, ${e.column_name} ${e.column}`, () =>
m({ cell: { run: e.run, layer: e.layer, column: e.column } }),
),
Ht("×", `Remove the pin of layer ${e.layer}, ${e.column_name} ${e.column}`, () =>
d("unpin", { id: e.id }),
),
),
),
),
),
);
Tt();
};
const Wt = () => {
const e = s.get("history"),
n = G?.run;
Et.hidden = !e.length;
Et.replaceChildren(
At("Runs", e.length),
Ot(
["", "name", "what", "status", ""],
e.map((e) =>
t(
"tr",
{ class: e.run === n ? "mn-current" : null, "data-run": e.run },
t(
"td",
{},
t("input", {
type: "radio",
name: Nt,
checked: e.run === n,
"aria-label": `Show ${e.name}`,
onchange: () => d("show", { run: e.run }),
}),
),
t(
"td",
{},
t("input", {
type: "text",
value: e.name,
"aria-label": `Name of run ${e.run}`,
onchange: (t) => d("rename", { run: e.run, name: t.target.value }),
}),
),
t("td", { text: e.what }),
t("td", { text: e.status }),
t(
"td",
{},
Ht("×", `Forget ${e.name}`, () => d("forget", { run: e.run })),
),
),
),
),
);
const i = e.filter((t) => t.run !== n),
a = s.get("compare");
st.replaceChildren(...i.map((t) => o(String(t.run), t.name)));
nt.hidden = !i.length;
st.hidden = !i.length;
nt.value = a.mode ?? "off";
if (i.some((t) => t.run === a.run)) st.value = String(a.run);
};
const Nt = l("runs"),
Pt = () => `${G.site}_${G.column_name}_${G.metric}_run${G.run}`;
const { element: Ft, draw: zt } = L(s, d, {
stem: Pt,
figure: () => Mt(),
table: () => j(G),
example: "trace.zarr, trace.nc, trace.csv, trace.parquet",
});
const jt = () => {
U();
const t = s.get("warning");
Y.hidden = !t;
e(Y, t);
};
const Dt = () => {
const t = s.get("alignment");
e(I, t.text ?? "");
I.classList.toggle("mn-bad", t.ok === false);
};
const It = () => {
const t = D[s.get("over")];
for (const e of f.site.options) e.disabled = t !== undefined && !t.includes(e.value);
if (t && !t.includes(s.get("site"))) m({ site: t[0] });
};
const Bt = s.get("model_info");
const Kt = t(
"div",
{
class: "mnemoscope mn-explorer",
"data-testid": "patch-explorer",
"data-lm-suppress-shortcuts": "true",
role: "region",
"aria-label": "Patch explorer",
},
t(
"header",
{ class: "mn-header" },
t("h2", { text: "Patch explorer" }),
t("span", { class: "mn-chip", "data-testid": "model", text: Bt.text }),
),
q,
X,
K,
Y,
t("div", { class: "mn-body" }, bt, vt),
_t,
Et,
Ft,
);
c(i, Kt);
u(["map", "other"], () => {
St();
Wt();
});
u(["show", "cell", "compare"], () => {
Z.value = s.get("show");
Tt();
Wt();
});
u(["detail"], Lt);
u(["pins"], Rt);
u(["history"], Wt);
u(["status", "progress", "error", "warning"], jt);
u(["alignment"], Dt);
u(["over"], It);
u(["saved", "code"], zt);
r.push(w(Tt), n(Kt, bt, Tt), h(s.get("static_key")));
St();
Lt();
Rt();
Wt();
jt();
Dt();
It();
zt();
return () => {
for (const t of r) t();
};
}
var B = { render: I };
export { B as default };
