// Built by npm run build from 11 files, sha256 de62cd1c3ef8658d96c9718637ce5b86df8890545a59863280e437c7ab4b57ec
const t = (t, e = {}, ...s) => {
const i = document.createElement(t);
for (const [t, s] of Object.entries(e)) {
if (s === null || s === undefined || s === false) continue;
if (t === "text") i.textContent = s;
else if (t.startsWith("on")) i.addEventListener(t.slice(2), s);
else if (t === "value") i.value = s;
else i.setAttribute(t, s === true ? "" : s);
}
i.append(...s.filter((t) => t !== null && t !== undefined));
if (i.matches("input, select, textarea, button, summary, [tabindex]"))
i.setAttribute("data-lm-suppress-shortcuts", "true");
return i;
};
const e = (t, e) => {
if (t.textContent !== e) t.textContent = e;
};
const s = (t, e, s) => {
let i = 0;
const n = new ResizeObserver(() => {
const n = t.isConnected ? e.clientWidth : 0,
a = Math.abs(n - i) > 4;
i = n;
if (!n) return;
if (a) s();
t.setAttribute("data-ready", "true");
});
n.observe(e);
return () => n.disconnect();
};
const i = (e, s, i) => {
const n = URL.createObjectURL(i instanceof Blob ? i : new Blob([i], { type: s }));
const a = t("a", { href: n, download: e });
document.body.append(a);
a.click();
a.remove();
setTimeout(() => URL.revokeObjectURL(n), 1e4);
};
const n = async (t, e) => {
try {
await navigator.clipboard.writeText(t);
} catch {
e.focus();
e.select();
document.execCommand("copy");
}
};
const a = (e, s) => t("option", { value: e, text: s });
const o = (e, s, i) => t("label", { class: "mn-field" }, t("span", { class: "mn-label", text: e }), s, null);
let r = 0;
const l = (t) => `mn-${t}-${++r}-${Math.random().toString(36).slice(2, 7)}`;
const c = (t, e) => {
t.append(e);
e.addEventListener("pointerdown", (t) => {
const e = t.button === 0 && t.target.closest("button");
if (!e || e.disabled) return;
const s = (i) => {
if (i.pointerId !== t.pointerId) return;
document.removeEventListener("pointerup", s, true);
document.removeEventListener("pointercancel", s, true);
const n = Math.hypot(i.clientX - t.clientX, i.clientY - t.clientY) < 6;
if (i.type === "pointerup" && n && !e.contains(i.target) && e.isConnected) e.click();
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
const d = (t) => {
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
const m = (t, e) => ([...t].length > e ? [...t].slice(0, e - 1).join("") + "…" : t);
const u = (t) =>
t.map((t) => (typeof t === "string" ? `"${t.replace(/"/g, '""')}"` : Number.isNaN(t) ? "" : String(t))).join(",") +
"\r\n";
const p = (t) => t === null || t === undefined || Number.isNaN(t);
const f = (t, e) => `${t.toLocaleString("en")} ${e}${t === 1 ? "" : "s"}`;
const g = (t) => {
if (p(t)) return "–";
const e = Math.abs(t);
return (e && (e < 1e-4 || e >= 1e6) ? t.toExponential(1) : String(Number(t.toPrecision(3)))).replace(/-/g, "−");
};
const w = (t) => (p(t) ? "–" : `${g(100 * t)} %`);
const b = (t, e, s = g) => (p(t) || p(e) ? "" : `${s(t)} to ${s(e)}`);
const y = (t) => d(t).replace(/·/g, " ");
const v = { other: "#b35900" };
const x = (t, e = {}, ...s) => {
const i = document.createElementNS("http://www.w3.org/2000/svg", t);
for (const [t, s] of Object.entries(e)) if (!p(s)) i.setAttribute(t, s);
i.append(...s);
return i;
};
const k = (t) => ({
text: new XMLSerializer().serializeToString(t),
width: Number(t.getAttribute("width")),
height: Number(t.getAttribute("height")),
});
const $ = (...e) => t("thead", {}, t("tr", {}, ...e.map((e) => t("th", { scope: "col", text: e }))));
const M = (e, s, i) =>
t(
"div",
{ class: "mn-tablebox" },
t(
"table",
{ class: "mn-table", "data-testid": e },
$(...s),
t(
"tbody",
{},
...i.map(([e, ...s]) =>
t(
"tr",
{},
t("th", { scope: "row", text: e }),
...s.map((e) =>
Array.isArray(e)
? t("td", {}, t("span", { text: e[0] }), e[1] ? t("span", { class: "mn-why", text: e[1] }) : null)
: t("td", { text: e }),
),
),
),
),
),
);
const A = (t) => [1, 3, 5].map((e) => parseInt(t.slice(e, e + 2), 16));
const S = ([t, e, s]) => `rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;
const T = ([t, e, s]) => (0.2126 * t + 0.7152 * e + 0.0722 * s) / 255;
const C = (t) => {
const e = t.map(A),
s = e.length - 1;
return (t) => {
const i = Math.min(1, Math.max(0, t)) * s,
n = Math.min(s - 1, Math.floor(i)),
a = i - n;
return e[n].map((t, s) => t + a * (e[n + 1][s] - t));
};
};
const L = {
light: {
diverging: C(["#0a3a75", "#2f7fc1", "#a6cdec", "#f9f9f7", "#fbc98f", "#dd7f1d", "#853703"]),
single: C(["#f9f9f7", "#b9d8ee", "#5a9fd4", "#1f62a6", "#08264f"]),
missing: [214, 214, 214],
ink: "#1c1c1c",
},
dark: {
diverging: C(["#a9d6ff", "#4a9be0", "#22507d", "#202328", "#7a4515", "#dd8430", "#ffd0a0"]),
single: C(["#202328", "#1d4a73", "#2f7fc1", "#7cbcf0", "#e6f4ff"]),
missing: [78, 82, 88],
ink: "#f2f2f2",
},
};
const E = (e) => {
const s = getComputedStyle(e.closest(".mnemoscope") ?? e);
const i = (t, e) => s.getPropertyValue(t).trim() || e;
const n = t("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
n.fillStyle = "#ffffff";
n.fillStyle = s.backgroundColor;
n.fillRect(0, 0, 1, 1);
const a = [...n.getImageData(0, 0, 1, 1).data].slice(0, 3),
o = T(a) < 0.4;
const r = o ? L.dark : L.light;
return {
dark: o,
...r,
page: a,
text: s.color,
muted: i("--mn-muted", "#666"),
accent: i("--mn-accent", "#0b6bcb"),
background: s.backgroundColor,
font: i("--mn-font", "system-ui, sans-serif"),
mono: i("--mn-mono", "monospace"),
};
};
const O = (t) => {
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
const H = (s, i, { title: n, start: a, stop: o }) => {
const r = t("button", {
class: "mn-button mn-primary",
type: "button",
"data-testid": "run",
text: "Run",
title: n,
onclick: a,
});
const l = t("button", {
class: "mn-button",
type: "button",
"data-testid": "stop",
text: "Stop",
title: "Stop after the layer in progress; finished layers stay",
onclick: o,
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
const n = s.get("status"),
a = s.get("progress"),
o = a.total ? Math.round((100 * a.done) / a.total) : 0,
r = s.get("error");
l.disabled = n !== "running";
i().setAttribute("data-status", n);
d.hidden = n !== "running" && n !== "stopping";
c.style.width = `${o}%`;
d.setAttribute("aria-valuenow", o);
e(h, a.text ?? "");
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
const N = (e, s = 3) =>
new Promise((i, n) => {
const a = new Image();
a.onload = () => {
const n = t("canvas", { width: e.width * s, height: e.height * s });
const o = n.getContext("2d");
o.scale(s, s);
o.drawImage(a, 0, 0);
n.toBlob(i, "image/png");
};
a.onerror = () => n(new Error("the browser could not draw the figure"));
a.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(e.text);
});
const W = (s, a, { stem: r, figure: l, table: c, example: h }) => {
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
const f = () => a("save", { path: m.value, overwrite: p.checked });
m.onkeydown = (t) => {
if (t.key === "Enter") f();
};
const g = (e, s, i, n = "") =>
t("button", { type: "button", class: `mn-button ${n}`, "data-testid": e, text: s, onclick: i });
const w = async (t) => {
const s = t.currentTarget;
await n(d.value, d);
e(s, "Copied");
setTimeout(() => e(s, "Copy"), 1500);
};
const b = t(
"div",
{},
t(
"div",
{ class: "mn-buttons" },
g("svg", "Figure (SVG)", () => i(`${r()}.svg`, "image/svg+xml", l().text)),
g("png", "Figure (PNG)", async () => i(`${r()}.png`, "image/png", await N(l()))),
g("csv", "Data (CSV)", () => i(`${r()}.csv`, "text/csv", c())),
),
t(
"div",
{ class: "mn-saverow" },
o("Save the labelled data on the kernel’s machine as", m),
g("save", "Save", f),
t("label", { class: "mn-check" }, p, "replace what is there"),
),
u,
);
const y = t(
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
const v = () => {
const t = s.get("saved");
e(u, t.text ?? "");
u.classList.toggle("mn-bad", t.ok === false);
d.value = s.get("code");
};
return { element: y, files: b, draw: v };
};
const P = { minWidth: 3, maxWidth: 46, minHeight: 3, maxHeight: 22, label: 11 };
class j {
constructor({ label: e, testid: s, name: i, hover: n = () => {}, select: a = () => {}, key: o = () => false }) {
Object.assign(this, { name: i, onHover: n, onSelect: a, onKey: o });
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
const { rows: t, columns: e, rowLabels: s, columnLabels: i } = this.grid,
n = this.base.getContext("2d");
n.font = `${P.label}px ${this.theme.mono}`;
const a = (t) => Math.max(0, ...t.slice(0, 2e3).map((t) => n.measureText(t).width));
this.left = Math.ceil(a(s)) + (this.grid.rowTitle ? 26 : 10);
const o = Math.max(60, this.width - this.left - 4);
const r = e * t > 2e4;
this.cw = this.grid.cellWidth ?? Math.max(r ? 1 : P.minWidth, Math.min(P.maxWidth, Math.floor(o / e)));
if (!this.grid.cellWidth && e <= 400) this.cw = Math.max(this.cw, Math.min(12, P.maxWidth));
this.cw = Math.max(1, Math.min(this.cw, Math.floor(12e3 / e)));
const l = this.grid.height ?? 430;
this.ch = this.grid.cellHeight ?? Math.max(r ? 1 : P.minHeight, Math.min(P.maxHeight, Math.floor(l / t)));
this.ch = Math.max(1, Math.min(this.ch, Math.floor(12e3 / t)));
const c = i.map((t) => m(t.text, 20)),
h = a(c);
this.turned = h + 6 > this.cw;
this.every = this.turned ? Math.max(1, Math.ceil((P.label + 2) / this.cw)) : 1;
this.rowEvery = Math.max(1, Math.ceil((P.label + 2) / this.ch));
this.plotWidth = this.cw * e;
this.plotHeight = this.ch * t;
this.lean = this.turned ? Math.ceil(h * 0.5) + 8 : 0;
this.bottom = (this.turned ? Math.ceil(h * 0.87) + 14 : 20) + (this.grid.columnTitle ? 16 : 0);
this.turnedTexts = c;
}
size(t, e, s) {
const i = Math.min(window.devicePixelRatio || 1, e * s > 4e6 ? 1 : 3);
t.width = Math.max(1, Math.round(e * i));
t.height = Math.max(1, Math.round(s * i));
t.style.width = `${e}px`;
t.style.height = `${s}px`;
const n = t.getContext("2d");
n.setTransform(i, 0, 0, i, 0, 0);
n.clearRect(0, 0, e, s);
return n;
}
y(t) {
return (this.grid.flip ? this.grid.rows - 1 - t : t) * this.ch;
}
draw() {
if (!this.grid || !this.element.isConnected) return;
this.theme = E(this.element);
this.layout();
const { rows: t, columns: e, columnLabels: s, rowLabels: i } = this.grid,
{ theme: n } = this;
const a = this.size(this.base, this.plotWidth + this.lean, this.plotHeight + this.bottom);
this.size(this.overlay, this.plotWidth, this.plotHeight);
if (this.grid.image) {
a.imageSmoothingEnabled = false;
a.drawImage(this.grid.image(n), 0, 0, this.plotWidth, this.plotHeight);
} else this.drawCells(a);
a.strokeStyle = n.muted;
a.globalAlpha = 0.5;
a.lineWidth = 1;
a.strokeRect(0.5, 0.5, this.plotWidth - 1, this.plotHeight - 1);
a.globalAlpha = 1;
a.textBaseline = "middle";
for (let t = 0; t < e; t += this.every) {
const { strong: e } = s[t],
i = (t + 0.5) * this.cw;
a.font = `${e ? "bold " : ""}${P.label}px ${n.mono}`;
a.fillStyle = e ? n.accent : n.text;
a.save();
if (this.turned) {
a.translate(i - 2, this.plotHeight + 6);
a.rotate(Math.PI / 3);
a.textAlign = "left";
} else {
a.translate(i, this.plotHeight + 10);
a.textAlign = "center";
}
a.fillText(this.turnedTexts[t], 0, 0);
a.restore();
}
a.fillStyle = n.muted;
a.font = `${P.label}px ${n.font}`;
if (this.grid.columnTitle) {
a.textAlign = "left";
a.fillText(this.grid.columnTitle, 0, this.plotHeight + this.bottom - 8);
}
const o = this.size(this.rowLabels, this.left, this.plotHeight + this.bottom);
o.textAlign = "right";
o.textBaseline = "middle";
o.fillStyle = n.text;
o.font = `${P.label}px ${n.mono}`;
for (let e = 0; e < t; e += this.rowEvery) o.fillText(i[e], this.left - 5, this.y(e) + this.ch / 2);
if (this.grid.rowTitle) {
o.save();
o.translate(8, this.plotHeight / 2);
o.rotate(-Math.PI / 2);
o.textAlign = "center";
o.fillStyle = n.muted;
o.font = `${P.label}px ${n.font}`;
o.fillText(this.grid.rowTitle, 0, 0);
o.restore();
}
this.drawOverlay();
this.announce();
}
drawCells(e) {
const { rows: s, columns: i, colour: n } = this.grid,
a = t("canvas", { width: i, height: s }),
o = a.getContext("2d");
const r = o.createImageData(i, s),
l = [];
for (let t = 0; t < s; t++)
for (let e = 0; e < i; e++) {
const a = n(t, e, this.theme),
o = 4 * ((this.grid.flip ? s - 1 - t : t) * i + e),
[c, h, d] = a ?? this.theme.missing;
if (!a && l.length < 2e4) l.push([t, e]);
r.data[o] = c;
r.data[o + 1] = h;
r.data[o + 2] = d;
r.data[o + 3] = 255;
}
o.putImageData(r, 0, 0);
e.imageSmoothingEnabled = false;
e.drawImage(a, 0, 0, this.plotWidth, this.plotHeight);
if (this.cw < 5 || this.ch < 5) return;
e.strokeStyle = this.theme.background;
e.globalAlpha = 0.55;
e.lineWidth = 1.5;
e.beginPath();
for (const [t, s] of l) {
const i = s * this.cw,
n = this.y(t);
e.moveTo(i, n + this.ch);
e.lineTo(i + this.cw, n);
}
e.stroke();
e.globalAlpha = 1;
}
drawOverlay() {
if (!this.grid || !this.cw) return;
const t = this.overlay.getContext("2d"),
{ cw: e, ch: s, theme: i } = this;
t.clearRect(0, 0, this.plotWidth, this.plotHeight);
if (this.cone) this.drawCone(t);
const n = (n, a, o, r = []) => {
if (!n) return;
const l = n.column * e,
c = this.y(n.row);
t.setLineDash(r);
for (const [n, r] of [
[i.background, 2],
[a, 0],
]) {
t.strokeStyle = n;
t.lineWidth = o + r;
t.strokeRect(l + 1, c + 1, Math.max(e - 2, 1), Math.max(s - 2, 1));
}
t.setLineDash([]);
};
for (const n of this.marks) {
const a = n.column * e + e / 2,
o = this.y(n.row) + s / 2,
r = Math.max(2, Math.min(4, e / 4, s / 4));
t.beginPath();
t.arc(a, o, r, 0, 7);
t.fillStyle = i.background;
t.fill();
t.lineWidth = 1.5;
t.strokeStyle = i.text;
t.stroke();
}
n(this.hovered, i.text, 1);
n(this.linked, i.text, 1, [3, 2]);
if (document.activeElement === this.element) n(this.focus, i.accent, 2, [4, 2]);
n(this.selected, i.text, 2.5);
}
drawCone(t) {
const { rows: e, columns: s } = this.grid,
i = (t, i) => t >= 0 && t < e && i >= 0 && i < s && this.cone(t, i),
{ cw: n, ch: a } = this;
t.lineWidth = 1;
const o = n >= 6 && a >= 6,
r = new Path2D();
for (let l = 0; l < e; l++)
for (let e = 0; e < s; e++) {
if (!i(l, e)) continue;
const s = e * n,
c = this.y(l),
h = this.grid.flip ? l + 1 : l - 1,
d = this.grid.flip ? l - 1 : l + 1;
if (o) {
const i = this.grid.colour ? (this.grid.colour(l, e, this.theme) ?? this.theme.missing) : this.theme.missing;
t.fillStyle = T(i) > 0.45 ? "rgba(0,0,0,.62)" : "rgba(255,255,255,.75)";
t.fillRect(s + n / 2 - 1, c + a / 2 - 1, 2, 2);
}
if (!i(h, e)) {
r.moveTo(s, c + 0.5);
r.lineTo(s + n, c + 0.5);
}
if (!i(d, e)) {
r.moveTo(s, c + a - 0.5);
r.lineTo(s + n, c + a - 0.5);
}
if (!i(l, e - 1)) {
r.moveTo(s + 0.5, c);
r.lineTo(s + 0.5, c + a);
}
if (!i(l, e + 1)) {
r.moveTo(s + n - 0.5, c);
r.lineTo(s + n - 0.5, c + a);
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
i = Math.floor((t.clientY - e.top) / this.ch);
if (s < 0 || s >= this.grid.columns || i < 0 || i >= this.grid.rows) return null;
return { row: this.grid.flip ? this.grid.rows - 1 - i : i, column: s };
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
const i = this.element.getBoundingClientRect(),
n = this.overlay.getBoundingClientRect();
const a = n.left - i.left + (e.column + 1) * this.cw + 8,
o = n.top - i.top + this.y(e.row) + this.ch + 6;
const r = a + this.tip.offsetWidth > i.width ? a - this.cw - this.tip.offsetWidth - 16 : a;
const l = o + this.tip.offsetHeight > i.height ? o - this.ch - this.tip.offsetHeight - 12 : o;
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
{ rows: s, columns: i } = this.grid,
n = { ...this.focus };
const a = {
ArrowUp: [e, 0],
ArrowDown: [-e, 0],
ArrowLeft: [0, -1],
ArrowRight: [0, 1],
PageUp: [5 * e, 0],
PageDown: [-5 * e, 0],
Home: [0, -i],
End: [0, i],
};
if (t.key in a) {
n.row += a[t.key][0];
n.column += a[t.key][1];
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
this.focus = { row: Math.min(s - 1, Math.max(0, n.row)), column: Math.min(i - 1, Math.max(0, n.column)) };
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
class z {
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
update({ ramp: t, low: s, middle: i = "", high: n, title: a }) {
const o = this.canvas.getContext("2d");
for (let e = 0; e < 128; e++) {
o.fillStyle = S(t(e / 127));
o.fillRect(e, 0, 1, 8);
}
e(this.low, s);
e(this.middle, i);
e(this.high, n);
e(this.title, a);
this.element.setAttribute("aria-label", `Colour scale: ${a}, from ${s} to ${n}`);
}
}
const R = (t) => {
if (!t) return new Float32Array(0);
const e = t instanceof ArrayBuffer ? new DataView(t) : t;
const s = e.byteOffset % 4 ? e.buffer.slice(e.byteOffset, e.byteOffset + e.byteLength) : e.buffer;
return new Float32Array(s, e.byteOffset % 4 ? 0 : e.byteOffset, Math.floor(e.byteLength / 4));
};
const D = (t) => new Uint8Array(t.buffer ?? t, t.byteOffset ?? 0, t.byteLength);
const I = (t) => {
const e = [];
return {
undo: e,
send: (e, s = {}) => t.send({ type: e, ...s }),
listen: (s, i) => {
for (const n of s) {
t.on(`change:${n}`, i);
e.push(() => t.off(`change:${n}`, i));
}
},
set: (e) => {
for (const [s, i] of Object.entries(e)) t.set(s, i);
t.save_changes();
},
};
};
const U = (e, s, i) => {
const n = {},
o = { range: true, number: true };
const r = (t, s) => {
const i = typeof e.get(t);
return i === "boolean" ? s.checked : i !== "number" ? s.value : s.value === "" ? NaN : Number(s.value);
};
const l = (t, e) => {
if (t.type === "checkbox") t.checked = e;
else t.value = e;
};
const c = (t, a) => {
n[t] = a;
a.setAttribute("data-testid", t);
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
if (r(t, a) !== e.get(t)) {
l(a, e.get(t));
a.dispatchEvent(new Event("pulled"));
}
};
m();
s([t], m);
const u = () => {
clearTimeout(c);
const s = r(t, a);
if (!Number.isNaN(s) && s !== e.get(t)) i({ [t]: s });
};
a.addEventListener("change", u);
if (a.tagName !== "SELECT" && a.type !== "checkbox")
a.addEventListener("input", () => {
clearTimeout(c);
if (o[a.type]) {
d = Date.now() + 700;
u();
} else c = setTimeout(u, 350);
});
a.flush = u;
return a;
};
return {
inputs: n,
bound: c,
shown: () =>
Object.fromEntries(
Object.entries(n)
.map(([t, e]) => [t, r(t, e)])
.filter(([, t]) => !Number.isNaN(t)),
),
flush: () => {
for (const t of Object.values(n)) t.flush();
},
area: (e, s = {}) => c(e, t("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", ...s })),
line: (e, s) => c(e, t("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: s })),
choose: (e, s) => c(e, t("select", {}, ...s.map(([t, e]) => a(t, e)))),
};
};
const _ = (t, e) => JSON.stringify(t) === JSON.stringify(e);
const q = (t) => {
const e = t?.sizes ?? [],
s = t?.data ? D(t.data) : new Uint8Array(0),
i = [],
n = [];
let a = 0;
for (const t of e) {
n.push(a);
a += t;
}
return (t) => {
if (!e[t]) return "";
if (i[t] === undefined) {
const a = s.subarray(n[t], n[t] + e[t]);
let o = "";
for (const t of a) o += String.fromCharCode(t);
i[t] = `data:image/${a[0] === 255 ? "jpeg" : "png"};base64,${btoa(o)}`;
}
return i[t];
};
};
const K = (t, e, s, i) => {
if (!t?.sizes) return null;
const n = e * s,
a = q(t),
o = (t, e, i) => t * n + e * s + i;
return {
...t,
ready: t.status === "ready",
file: (t, e, s) => {
for (let i = t; i >= 0; i--) {
const t = a(o(i, e, s));
if (t) return t;
}
return "";
},
value: (e, s, i) => t.values[o(e, s, i)] ?? null,
copy: (e, n, a) => (e === i - 1 && t.copied.length ? t.copied[n * s + a] : null),
};
};
const B = (t, e) => {
const s = [""];
for (const i of t.split(" ")) {
const t = s.at(-1);
if (t && [...t].length + [...i].length + 1 > e) s.push(i);
else s[s.length - 1] = t ? `${t} ${i}` : i;
}
return s.map((t) => m(t, e + 2));
};
const F = [
["training", "Training picture", "training picture"],
["before", "Before", "drawn by the unedited model"],
["after", "After the edit", "drawn by the edited model"],
["random", "Random control", "drawn with as many random weights set to 0"],
["attacked", "After the attack", "drawn by the edited model from an optimised embedding"],
];
const V = ["before", "after", "random", "attacked"];
const G = ["memorised", "reference", "place", "method", "chosen", "sparsity", "first"];
const X = "system-ui, DejaVu Sans, Arial, sans-serif";
function Y({ model: n, el: a }) {
const { undo: r, send: l, listen: d } = I(n),
$ = n.get("model_info"),
A = n.get("names"),
S = $.frames.length,
T = $.measure === "normalised distance" ? "d" : "r";
const C = (t) => {
for (const [e, s] of Object.entries(t)) n.set(e, s);
l("move", { fields: t });
me();
};
const { bound: L, shown: N, flush: P, choose: Y } = U(n, d, C);
const J = () => ({ ...N(), chosen: n.get("chosen"), sparsity: n.get("sparsity"), step: n.get("step") });
const Q = () => ["running", "stopping"].includes(n.get("status"));
const Z = $.side <= 64,
tt = Z ? Math.max(64, $.side) : 112;
const et = (t) => $.places[t] ?? Object.values($.places)[0],
st = () => et(n.get("place"));
const it = Y("place", n.get("places"));
it.title = "The layers of the U-Net that are watched and cut; statistics are run once for each choice";
const nt = (t) =>
Y(
t,
A[t].map(([t, e]) => [t, m(y(e), 60)]),
);
const at = () => {
P();
l("run", { fields: J() });
};
const {
run: ot,
error: rt,
draw: lt,
element: ct,
} = H(n, () => Ne, {
title: "Draw the captions, find the weights, draw again; what is there is not made again (Ctrl+Enter)",
start: at,
stop: () => l("stop"),
});
e(ot, "Locate and draw");
ct.querySelector("[data-testid=stop]").title =
"Stop before the next denoising step; what is whole stays, and the weights are restored";
ct.querySelector(".mn-progress").setAttribute("aria-label", "Steps of this stage");
const ht = t("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true });
const dt = t(
"div",
{},
t(
"div",
{ class: "mn-controls" },
o("Memorised captions", nt("memorised")),
o("Reference captions", nt("reference")),
o("Layers to cut", it),
o("Method", Y("method", n.get("methods"))),
),
t("div", { class: "mn-controls" }, ct),
ht,
rt,
);
const mt = () => {
const e = n.get("doubts"),
s = e.refused && e.memorised === n.get("memorised") && e.reference === n.get("reference");
ht.hidden = !s;
ht.replaceChildren(
...(s
? [t("strong", { text: "These sets overlap: nothing is run with them" }), t("pre", { text: e.refused })]
: []),
);
if (s && n.get("error").text === e.refused) rt.hidden = true;
};
const ut = n.get("sparsities"),
pt = (t) => ut.reduce((e, s, i) => (Math.abs(Math.log(s / t)) < Math.abs(Math.log(ut[e] / t)) ? i : e), 0);
const ft = t("input", {
type: "range",
min: 0,
max: ut.length - 1,
step: 1,
"data-testid": "sparsity",
"aria-label": "Sparsity: share of each row’s weights set to 0 at one step",
}),
gt = t("output", { "data-testid": "sparsity-now" });
const wt = L(
"first",
t("input", {
type: "range",
min: 1,
max: $.steps,
step: 1,
"aria-label": "Denoising steps whose masks are united",
}),
),
bt = t("output", { "data-testid": "first-now" });
ft.oninput = () => C({ sparsity: ut[Number(ft.value)] });
const yt = (e, s, i) =>
t("div", { class: "mn-field mn-slide" }, t("span", {}, t("span", { class: "mn-label", text: e }), s), i);
const vt = t("p", { class: "mn-note", "data-testid": "edit", role: "status" });
const xt = t("p", { "data-testid": "force", role: "status" }),
kt = t("button", {
type: "button",
class: "mn-button",
"data-testid": "put",
text: "Put this edit in force",
onclick: () => l("put", { fields: J() }),
}),
$t = t("button", { type: "button", class: "mn-button", "data-testid": "undo", onclick: () => l("undo") });
const Mt = t("div", { class: "mn-weights", "data-testid": "weights" }, kt, $t, xt);
const At = t(
"section",
{ class: "mn-section", "aria-label": "The edit" },
t("div", { class: "mn-side-head" }, t("h3", { text: "The edit" })),
t(
"div",
{ class: "mn-moves" },
yt("Sparsity: share of each row’s weights, at one step ", gt, ft),
yt("First denoising steps, masks united ", bt, wt),
),
vt,
Mt,
);
const St = (t) => (t ? t.slice(0, 12) : "…");
const Tt = (t) => !!t && G.every((e) => _(t[e], n.get(e)));
const Ct = () => {
const t = n.get("edit"),
s = n.get("sparsity"),
i = n.get("first");
ft.value = pt(s);
e(gt, g(s));
ft.setAttribute("aria-valuetext", g(s));
const a = st().alike;
e(bt, a ? "makes no difference here" : `${i} of ${$.steps}`);
wt.setAttribute("aria-valuetext", a ? bt.textContent : `${i} of ${$.steps} steps`);
wt.disabled = a;
wt.title = a ? "Keys and values read the caption’s words, the same at every step: so are the masks" : "";
e(
vt,
!t.weights
? ""
: Tt(t.key)
? `The mask sets ${t.weights.toLocaleString("en")} weights to 0, ${w(t.density)} of those in ` +
`the ${et(t.key.place).layers}.`
: `The pictures with an edit are still of ${t.text}.` +
(!Q() && t.key.place !== n.get("place") ? ` “Locate and draw” makes those of the ${st().layers}.` : ""),
);
};
const Lt = () => {
const s = n.get("force"),
i = !!n.get("edit").weights;
Mt.hidden = !i && s.state === "none";
Mt.setAttribute("data-state", s.state);
kt.disabled = Q() || !!s.doing || !i || !Tt(n.get("edit").key);
$t.disabled = s.state !== "in force";
e(
$t,
s.state === "in force"
? "Undo: weights back, bit-equal"
: s.state === "undone" && s.same
? "Undone: weights bit-equal"
: "Undo",
);
const a =
s.state === "in force"
? `The model is edited now: ${s.what}. Weight hash ${St(s.before)} → ${St(s.now)}; whatever ` +
`the notebook asks this pipeline is answered by the edited one.`
: s.state === "undone"
? `The model is not edited: ${s.what} was undone; weight hash ${St(s.now)}, ` +
`${s.same ? `unchanged from ${St(s.before)} before the edit` : `NOT the ${St(s.before)} from before`}` +
`.`
: s.state === "error"
? ""
: Q()
? "While pictures are drawn, the weights are edited and restored."
: "The model is not edited: the pictures below were drawn with the edit and the weights " +
"restored. Here it can be left in force, to try in the notebook.";
xt.replaceChildren(s.doing ?? a, ...(s.text ? [t("strong", { class: "mn-bad", text: ` ${s.text}` })] : []));
};
const Et = t(
"div",
{ class: "mn-empty", "data-testid": "empty" },
t("strong", { text: "No pictures yet" }),
t("p", {
text:
"“Locate and draw” draws the captions below with the model’s own weights, finds the weights that " +
"tell them from the reference, sets those to 0, and draws again, beside as many random weights. " +
"You watch each denoising step. The weights are restored after every drawing.",
}),
);
const Ot = t("p", { class: "mn-note", "data-testid": "limit" }),
Ht = t("p", {
class: "mn-note",
text: $.measure ? `${T}: ${$.about}.` : "No training pictures were given: no copy measure.",
});
const Nt = t("input", {
type: "range",
min: 0,
max: S - 1,
step: 1,
"data-testid": "step",
"aria-label": "Denoising step shown",
}),
Wt = t("output", { "data-testid": "step-now" });
const Pt = (t) => {
const e = Math.max(0, Math.min(S - 1, t));
n.set("step", e);
l("move", { fields: { step: e } });
me();
};
Nt.oninput = () => Pt(Number(Nt.value));
let jt = 0;
const zt = () => {
clearInterval(jt);
jt = 0;
e(Rt, "Play");
};
const Rt = t("button", {
type: "button",
class: "mn-button",
"data-testid": "play",
text: "Play",
title: "Go through the denoising steps",
onclick: () => {
if (jt) {
zt();
return;
}
let t = 0;
e(Rt, "Pause");
n.set("step", 0);
me();
jt = setInterval(
() => {
t += 1;
n.set("step", Math.min(t, S - 1));
me();
if (t >= S - 1) zt();
},
Math.max(90, 3e3 / S),
);
},
});
r.push(zt);
const Dt =
$.seeds.length > 1
? Y(
"seed",
$.seeds.map((t, e) => [e, `seed ${t}`]),
)
: null;
const It = t(
"div",
{ class: "mn-moves" },
yt("Denoising step shown ", Wt, Nt),
Rt,
Dt ? o("Starting noise", Dt) : null,
);
const Ut = t("tr", { role: "row" }),
_t = t("tbody", { role: "rowgroup" }),
qt = t(
"table",
{
class: "mn-pictures",
role: "grid",
"data-testid": "grid",
"aria-label": "Pictures: a row a state of the model, a column a caption",
},
t("thead", { role: "rowgroup" }, Ut),
_t,
);
const Kt = t("p", { class: "mn-note mn-readout", "data-testid": "readout", role: "status" }),
Bt = t("div", { "data-testid": "numbers" });
const Ft = t("button", {
type: "button",
class: "mn-button",
"data-testid": "attack",
text: "Attack this edit",
onclick: () => {
P();
l("attack", { fields: J() });
},
});
const Vt = t("p", {
class: "mn-note",
text:
"An attack looks for a text embedding that makes the edited model denoise towards the training " +
"picture. With enough updates that draws any picture: read it beside the never-trained pictures " +
"attacked with the same budget. Moving a slider stops it.",
});
const Gt = t(
"section",
{ class: "mn-section", "aria-label": "Attack on the edit" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Attack on the edit" })),
Vt,
t(
"div",
{ class: "mn-controls" },
o("Updates", L("updates", t("input", { type: "number", min: 1, max: 1e4, step: 10 }))),
o("starting from", Y("start", n.get("starts"))),
Ft,
),
);
const Xt = t("p", {
class: "mn-note",
"data-testid": "help",
text:
"The mask is located on the captions that are ticked; the others show what it does to pictures it " +
"was not made from. Keys: arrows, Home and End move through the pictures and the map and read them " +
"out; Space ticks a caption on or off; Ctrl+Enter draws.",
});
const Yt = t(
"section",
{ class: "mn-section", "aria-label": "Pictures" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Pictures" })),
Et,
Ot,
Ht,
It,
t("div", { class: "mn-gridbox" }, qt),
Kt,
Xt,
Bt,
);
let Jt = [],
Qt = [],
Zt = [],
te = () => "",
ee = {},
se = [0, 0];
const ie = () => Math.min(n.get("seed"), $.seeds.length - 1);
const ne = (t) => (p(t) ? "" : `${T} = ${t.toFixed(2).replace("-0.00", "0.00").replace("-", "−")}`),
ae = (t) => (t === true ? "copy" : t === false ? "no copy" : "");
const oe = (t, e) => {
const [s, , i] = F[t],
a = Zt[e];
if (s === "training") return { file: te(e), said: "", alt: `${y(a)}: ${i}` };
const o = ee[s];
if (!o || o.memorised !== n.get("memorised")) return { file: "", said: "", alt: `${y(a)}: not ${i} yet` };
const r = o.ready ? Math.min(n.get("step"), S - 1) : Math.max(0, Math.min(n.get("step"), o.frames - 1)),
l = o.value(r, e, ie()),
c = o.copy(r, e, ie()),
h = ne(l),
d = r === S - 1;
return {
file: o.file(r, e, ie()),
value: l,
copy: c,
said: h,
alt:
`${y(a)}: ${i}${d ? "" : `, after step ${$.frames[r]} of ${$.steps}`}` +
`${s !== "before" && o.key && !Tt(o.key) ? `, of an earlier edit` : ""}` +
`${h ? `, ${h}` : ""}${ae(c) ? `, ${ae(c)}` : ""}`,
};
};
const re = () => e(Kt, Zt.length ? `${oe(...se).alt}.` : "");
const le = () => {
const e = n.get("prompts");
Zt = e.captions ?? [];
te = q(e);
se = [0, 0];
Qt = Zt.map((e, s) =>
t("input", {
type: "checkbox",
"aria-label": `The mask is located on: ${y(e)}`,
"data-testid": `tick-${s}`,
onchange: () => he(s),
}),
);
Ut.replaceChildren(
t("th", { scope: "col", text: "Caption" }),
...Zt.map((e, s) =>
t(
"th",
{ scope: "col", title: y(e), style: `width:${tt + 8}px` },
t("span", { text: m(y(e), 70) }),
t("br"),
t("label", { class: "mn-tick" }, Qt[s], "located on"),
),
),
);
Jt = F.map(([e, s], i) => {
const n = t("span", { class: "mn-row-note" }),
a = t("tr", { role: "row", "data-state": e }, t("th", { scope: "row" }, t("span", { text: s }), n));
const o = Zt.map((s, n) => {
const a = t("span", { class: "mn-said" }),
o = t("span", { class: "mn-said" }),
r = t("img", { class: "mn-pic", width: tt, height: tt, "data-sharp": Z, draggable: "false" }),
l = t("td", { role: "gridcell", tabindex: i || n ? "-1" : "0", "data-testid": `cell-${e}-${n}` }, r, a, o);
l.onfocus = () => {
ce(i, n, false);
};
return { td: l, picture: r, said: a, judged: o };
});
a.append(...o.map((t) => t.td));
_t.append(a);
return { row: a, notes: n, line: o };
});
_t.replaceChildren(...Jt.map((t) => t.row));
de();
};
const ce = (t, e, s = true) => {
if (!Jt[t]?.line[e]) return;
Jt[se[0]]?.line[se[1]]?.td.setAttribute("tabindex", "-1");
se = [t, e];
const { td: i } = Jt[t].line[e];
i.setAttribute("tabindex", "0");
if (s) i.focus();
re();
};
const he = (t) => {
const e = new Set(n.get("chosen"));
if (e.has(t)) e.delete(t);
else e.add(t);
C({ chosen: [...e].sort((t, e) => t - e) });
};
_t.onkeydown = (t) => {
if (!t.target.matches("td") || t.ctrlKey || t.altKey || t.metaKey) return;
const e = Jt.map((t, e) => e).filter((t) => !Jt[t].row.hidden),
s = e.indexOf(se[0]),
i = {
ArrowUp: [s - 1, se[1]],
ArrowDown: [s + 1, se[1]],
ArrowLeft: [s, se[1] - 1],
ArrowRight: [s, se[1] + 1],
Home: [s, 0],
End: [s, Zt.length - 1],
}[t.key];
if (t.key === " ") he(se[1]);
else if (!i) return;
t.preventDefault();
t.stopPropagation();
if (i && i[0] >= 0 && i[0] < e.length && i[1] >= 0 && i[1] < Zt.length) ce(e[i[0]], i[1]);
};
const de = () => {
ee = Object.fromEntries(V.map((t) => [t, K(n.get(t), Zt.length, $.seeds.length, S)]));
me();
};
const me = () => {
if (!Jt.length) return;
const t = Math.min(n.get("step"), S - 1),
s = n.get("memorised"),
i = new Set(n.get("chosen")),
a = ee.before?.memorised === s ? ee.before : null,
o = ee.attacked?.memorised === s ? ee.attacked : null;
Nt.value = t;
e(
Wt,
t < S - 1
? `${$.frames[t]} of ${$.steps}`
: V.some((t) => ee[t] && !ee[t].ready)
? "the latest there is"
: `${$.frames[t]} of ${$.steps}, the finished picture`,
);
Nt.setAttribute("aria-valuetext", Wt.textContent);
Et.hidden = !!a;
for (const t of [It, Ot, Ht, Gt, Xt, Kt]) t.hidden = !a;
Bt.hidden = !a?.ready;
Ne.setAttribute("data-pictures", a?.ready ? "true" : "false");
Qt.forEach((t, e) => {
t.checked = i.has(e);
});
Jt.forEach(({ row: t, notes: i, line: r }, l) => {
const [c] = F[l],
h = ee[c],
d = h?.memorised === s,
m = d && c !== "before" && !Tt(h.key);
t.hidden =
c === "training"
? !(n.get("prompts").sizes ?? []).some((t) => t)
: c === "attacked"
? !o || m
: !a && c !== "before"
? true
: !a && !d;
t.setAttribute("data-old", String(m));
e(
i,
c === "training"
? ""
: !d
? ""
: !h.ready
? `step ${$.frames[Math.max(0, h.frames - 1)]} of ${$.steps} …`
: m
? "of an earlier edit"
: c === "after"
? `${n.get("place")}, ${n.get("method")}, ${g(n.get("sparsity"))}` +
`${st().alike ? "" : `, ${f(n.get("first"), "step")}`}`
: c === "random"
? "as many weights of each row"
: c === "attacked"
? `${h.attack[0]} updates`
: "the model’s own weights",
);
r.forEach(({ td: t, picture: s, said: i, judged: n }, a) => {
const o = oe(l, a);
s.classList.toggle("mn-none", !o.file);
if (o.file) {
if (s.getAttribute("src") !== o.file) s.src = o.file;
} else s.removeAttribute("src");
s.alt = o.alt;
t.setAttribute("aria-label", o.alt);
e(i, o.said);
e(n, ae(o.copy));
t.setAttribute("data-copy", o.copy === true);
});
});
if (Jt[se[0]].row.hidden) se = [0, se[1]];
e(Ot, n.get("limit").text ?? "");
Ft.disabled = Q() || !ee.after?.ready || !Tt(ee.after.key) || !(n.get("prompts").sizes ?? []).some((t) => t);
re();
pe();
Ct();
Lt();
};
const ue = () =>
F.slice(1).flatMap(([t, e]) => {
const s = ee[t];
if (!s?.ready || s.memorised !== n.get("memorised") || (t !== "before" && !Tt(s.key))) return [];
return [
...s.groups.map((t) => [e, s.groups.length > 1 ? t.name : "", t]),
...(s.never ? [[e, s.never.name, s.never]] : []),
];
});
const pe = () => {
const e = ue();
if (!$.measure || !e.length) {
Bt.replaceChildren();
return;
}
Bt.replaceChildren(
M(
"table",
["", "pictures that are copies", `mean ${T}`],
e.map(([t, e, s]) => [
e ? `${t}, ${e}` : t,
s.copies === undefined ? "–" : [`${s.copies} of ${s.pictures}`, b(s.low, s.high, w)],
g(s.mean),
]),
),
t("p", {
class: "mn-note",
text:
`${g(100 * $.level)} % intervals over captions (Clopper–Pearson, or bootstrap where a ` +
`caption has several seeds that disagree). ` +
`${$.seeds.length > 1 ? "All seeds together." : `One seed of starting noise, ${$.seeds[0]}.`}` +
` Control: one draw.`,
}),
);
};
let fe = null;
const ge = t("p", { class: "mn-note" }),
we = t("p", { class: "mn-note mn-readout", "data-testid": "map-read", role: "status" }),
be = new z("map-bar");
const ye = (t, e) => {
const s = t * fe.steps + e,
i = Tt(n.get("edit").key) ? n.get("edit").layers?.[t] : null;
return [
["layer", fe.short[t]],
["step", `${e + 1} of ${fe.steps}${e < n.get("first") ? ", united" : ""}`],
[`${et(fe.place).unit} beyond z = 3`, w(fe.share[s])],
["largest |z|", g(fe.largest[s])],
...(p(i) ? [] : [["the edit takes", `${w(i)} of the layer`]]),
];
};
const ve = new j({
label: "Layer-by-step map: how far layers tell the two sets apart; arrow keys read its cells",
testid: "map",
name: (t, e) =>
ye(t, e)
.map((t) => t.join(" "))
.join(", "),
hover: (t) => {
if (t)
e(
we,
`${fe.layers[t.row]}: ${ye(t.row, t.column)
.slice(1)
.map((t) => t.join(" "))
.join(", ")}.`,
);
},
});
const xe = t(
"section",
{ class: "mn-section", "aria-label": "Layer-by-step map", "data-testid": "scores" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Where and when the two sets differ" }), be.element),
ge,
ve.element,
we,
);
const ke = () => {
const t = n.get("scores");
xe.hidden = !t.layers || t.memorised !== n.get("memorised");
if (xe.hidden) {
fe = null;
return;
}
fe = { ...t, share: R(t.share), largest: R(t.largest) };
if (!Ne.isConnected) return;
const s = et(t.place),
i = s.alike ? 1 : Math.max(0, ...fe.share) || 0.01,
a = t.reference !== n.get("reference") || t.place !== n.get("place") || !_(t.chosen, n.get("chosen"));
e(
ge,
`${t.sets[0]} memorised against ${t.sets[1]} reference captions in the ${s.layers}` +
`${a ? " (of an earlier choice)" : ""}: share of a layer’s ${s.unit} whose mean energy differs ` +
`by more than 3 standard errors; about 0.3 % by chance, more with few captions. Layers by block ` +
`and attention` +
(s.alike
? ", k: keys, v: values. All of them read the caption’s words, which no layer and no step changes: " +
`the map holds one value, ${w(fe.share[0])}.`
: ", in the order in which they run; steps in bold are united in the mask."),
);
be.update({ ramp: E(Ne).single, low: "0 %", middle: w(i / 2), high: w(i), title: `${s.unit} beyond z = 3` });
ve.update(
{
rows: fe.layers.length,
columns: fe.steps,
rowLabels: fe.short,
columnLabels: Array.from({ length: fe.steps }, (t, e) => ({ text: String(e + 1), strong: e < n.get("first") })),
rowTitle: "layer",
columnTitle: "denoising step",
cellHeight: 22,
colour: (t, e, s) => s.single(fe.share[t * fe.steps + e] / i),
tip: ye,
},
Math.max(240, (xe.clientWidth || 900) - 20),
);
};
const $e = () =>
(
`diffusion_${n.get("memorised")}_${n.get("place")}_${n.get("method")}_` + `${n.get("sparsity")}_${n.get("first")}`
).replace(/[^\w.-]+/g, "_");
const Me = () => F.map((t, e) => [t, e]).filter(([, t]) => Jt[t] && !Jt[t].row.hidden);
const Ae = () => {
const t = [["caption", "located_on", "state", "seed", "step", "measure", "value", "copy"]],
e = n.get("memorised"),
s = new Set(n.get("chosen"));
for (const i of V) {
const n = ee[i];
if (!n?.ready || n.memorised !== e || (i !== "before" && !Tt(n.key))) continue;
for (let e = 0; e < Zt.length; e++)
for (let a = 0; a < $.seeds.length; a++)
for (let o = 0; o < S; o++) {
const r = n.value(o, e, a),
l = n.copy(o, e, a);
if (o === S - 1 || !p(r))
t.push([
Zt[e],
String(s.has(e)),
i,
$.seeds[a],
$.frames[o],
$.measure,
r ?? NaN,
l === null ? "" : String(l),
]);
}
}
return t.map(u).join("");
};
const Se = () => {
const t = Me(),
e = Z ? 80 : tt,
s = 112,
i = e + 14,
n = $.measure ? 34 : 10,
a = Zt.map((t) => B(y(t), Math.floor(i / 5.6)).slice(0, 6)),
o = 10 + 12 * Math.max(1, ...a.map((t) => t.length)),
r = e + n,
l = s + i * Zt.length + 6,
c = o + r * t.length + 8;
const h = x(
"svg",
{
xmlns: "http://www.w3.org/2000/svg",
width: l,
height: c,
viewBox: `0 0 ${l} ${c}`,
"font-family": X,
"font-size": 10,
},
x("rect", { width: l, height: c, fill: "#ffffff" }),
),
d = (t, e, s, i = {}) => x("text", { x: t, y: e, fill: "#1c1c1c", ...i }, s);
for (const [t, e] of a.entries())
for (const [n, a] of e.entries()) {
const r = s + t * i + i / 2;
h.append(d(r, o - 12 * (e.length - n) + 4, a, { "text-anchor": "middle", "font-size": 9 }));
}
t.forEach(([[, t], n], a) => {
const l = o + a * r;
h.append(d(4, l + e / 2, t, { "font-size": 11 }));
Zt.forEach((t, a) => {
const o = oe(n, a),
r = s + a * i + 7;
if (o.file)
h.append(
x("image", {
x: r,
y: l,
width: e,
height: e,
href: o.file,
style: Z ? "image-rendering:pixelated" : null,
}),
);
h.append(
x("rect", {
x: r,
y: l,
width: e,
height: e,
fill: "none",
stroke: o.copy ? v.other : "#d0d0d0",
"stroke-width": o.copy ? 2.5 : 0.7,
}),
...[o.said, ae(o.copy)].map((t, s) =>
d(r + e / 2, l + e + 12 * (s + 1), t, {
"text-anchor": "middle",
"font-weight": o.copy ? "bold" : "normal",
}),
),
);
});
});
return k(h);
};
const Te = W(n, (t, e) => l(t, { ...e, fields: J() }), {
stem: $e,
figure: Se,
table: Ae,
example: "measures.zarr, measures.csv, mask.npz",
});
e(Te.files.querySelector("[data-testid=csv]"), "Measures (CSV)");
e(Te.files.querySelector("[data-testid=svg]"), "Picture grid (SVG)");
e(Te.files.querySelector("[data-testid=png]"), "Picture grid (PNG)");
e(
Te.files.querySelector(".mn-saverow .mn-label"),
"Save on the kernel’s machine: the measures (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)",
);
const Ce = () =>
i(
`${$e()}_map.csv`,
"text/csv",
[
["layer", "step", "share_beyond_3", "largest_z"],
...fe.layers.flatMap((t, e) =>
Array.from({ length: fe.steps }, (s, i) => [
t,
i + 1,
fe.share[e * fe.steps + i],
fe.largest[e * fe.steps + i],
]),
),
]
.map(u)
.join(""),
);
Te.files.querySelector(".mn-buttons").append(
t("button", {
type: "button",
class: "mn-button",
"data-testid": "map-csv",
text: "Map (CSV)",
onclick: () => {
if (fe) Ce();
},
}),
t("button", {
type: "button",
class: "mn-button",
"data-testid": "npz",
text: "Mask shown (npz)",
onclick: () => l("document", { kind: "npz", fields: J() }),
}),
);
let Le = n.get("document").number ?? 0;
const Ee = () => {
const t = n.get("document");
if (!t.number || t.number === Le) return;
Le = t.number;
i(`${$e()}.${t.kind}`, t.type, D(t.data));
};
const Oe = t("span", { class: "mn-chip", "data-testid": "model" });
const He = () => {
e(Oe, st().text);
At.hidden = !n.get("edit").weights && !ee.before;
Te.files.hidden = !ee.before;
mt();
ke();
};
const Ne = t(
"div",
{
class: "mnemoscope mn-memory mn-diffusion",
"data-testid": "diffusion-bench",
"data-lm-suppress-shortcuts": "true",
role: "region",
"aria-label": "Diffusion bench",
onkeydown: (t) => {
if (t.key === "Enter" && (t.ctrlKey || t.metaKey)) {
t.preventDefault();
t.stopPropagation();
ot.click();
}
},
},
t("header", { class: "mn-header" }, t("h2", { text: "Diffusion bench" }), Oe),
dt,
At,
Yt,
Gt,
xe,
Te.element,
);
const We = () => {
Ne.setAttribute("data-dark", E(Ne).dark);
me();
He();
};
c(a, Ne);
d(["prompts"], le);
d(V, () => {
de();
He();
});
d(
["memorised", "reference", "place", "method", "chosen", "sparsity", "first", "step", "seed", "limit", "edit"],
() => {
me();
He();
},
);
d(["scores"], ke);
d(["doubts"], mt);
d(["force"], Lt);
d(["status", "progress", "error"], () => {
lt();
mt();
me();
});
d(["saved", "code"], Te.draw);
d(["document"], Ee);
r.push(O(We), s(Ne, Yt, We), h(n.get("static_key")));
le();
lt();
We();
Te.draw();
return () => {
for (const t of r) t();
};
}
var J = { render: Y };
export { J as default };
