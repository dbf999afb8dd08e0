// Built by npm run build from 6 files, sha256 5588fa889d6023d4b344c3ae43c0c7586c60f75736f56b62b1ffc9e48bdc1166
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
o = Math.abs(n - i) > 4;
i = n;
if (!n) return;
if (o) s();
t.setAttribute("data-ready", "true");
});
n.observe(e);
return () => n.disconnect();
};
const i = (e, s) => t("option", { value: e, text: s });
const n = (e, s, i) => t("label", { class: "mn-field" }, t("span", { class: "mn-label", text: e }), s, null);
let o = 0;
const a = (t) => `mn-${t}-${++o}-${Math.random().toString(36).slice(2, 7)}`;
const l = (t, e) => {
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
const r = (e) => {
if (!e || !/^[\w-]+$/.test(e)) return () => {};
const s = t("style", {
text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none ` + `!important; }`,
});
document.head.append(s);
return () => s.remove();
};
const h = (t) => [1, 3, 5].map((e) => parseInt(t.slice(e, e + 2), 16));
const c = ([t, e, s]) => `rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;
const d = ([t, e, s]) => (0.2126 * t + 0.7152 * e + 0.0722 * s) / 255;
const u = (t) => {
const e = t.map(h),
s = e.length - 1;
return (t) => {
const i = Math.min(1, Math.max(0, t)) * s,
n = Math.min(s - 1, Math.floor(i)),
o = i - n;
return e[n].map((t, s) => t + o * (e[n + 1][s] - t));
};
};
const m = {
light: {
diverging: u(["#0a3a75", "#2f7fc1", "#a6cdec", "#f9f9f7", "#fbc98f", "#dd7f1d", "#853703"]),
single: u(["#f9f9f7", "#b9d8ee", "#5a9fd4", "#1f62a6", "#08264f"]),
missing: [214, 214, 214],
ink: "#1c1c1c",
},
dark: {
diverging: u(["#a9d6ff", "#4a9be0", "#22507d", "#202328", "#7a4515", "#dd8430", "#ffd0a0"]),
single: u(["#202328", "#1d4a73", "#2f7fc1", "#7cbcf0", "#e6f4ff"]),
missing: [78, 82, 88],
ink: "#f2f2f2",
},
};
const f = (e) => {
const s = getComputedStyle(e.closest(".mnemoscope") ?? e);
const i = (t, e) => s.getPropertyValue(t).trim() || e;
const n = t("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
n.fillStyle = "#ffffff";
n.fillStyle = s.backgroundColor;
n.fillRect(0, 0, 1, 1);
const o = [...n.getImageData(0, 0, 1, 1).data].slice(0, 3),
a = d(o) < 0.4;
const l = a ? m.dark : m.light;
return {
dark: a,
...l,
page: o,
text: s.color,
muted: i("--mn-muted", "#666"),
accent: i("--mn-accent", "#0b6bcb"),
background: s.backgroundColor,
font: i("--mn-font", "system-ui, sans-serif"),
mono: i("--mn-mono", "monospace"),
};
};
const g = (t) => {
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
const p = (t) => {
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
const w = (t, e) => ([...t].length > e ? [...t].slice(0, e - 1).join("") + "…" : t);
const v = (t) => {
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
const y = { minWidth: 3, maxWidth: 46, minHeight: 3, maxHeight: 22, label: 11 };
class b {
constructor({ label: e, testid: s, name: i, hover: n = () => {}, select: o = () => {}, key: l = () => false }) {
Object.assign(this, { name: i, onHover: n, onSelect: o, onKey: l });
this.focus = { row: 0, column: 0 };
this.hovered = null;
this.selected = null;
this.cone = null;
this.marks = [];
this.grid = null;
const r = a("cell");
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
n.font = `${y.label}px ${this.theme.mono}`;
const o = (t) => Math.max(0, ...t.slice(0, 2e3).map((t) => n.measureText(t).width));
this.left = Math.ceil(o(s)) + (this.grid.rowTitle ? 26 : 10);
const a = Math.max(60, this.width - this.left - 4);
const l = e * t > 2e4;
this.cw = this.grid.cellWidth ?? Math.max(l ? 1 : y.minWidth, Math.min(y.maxWidth, Math.floor(a / e)));
if (!this.grid.cellWidth && e <= 400) this.cw = Math.max(this.cw, Math.min(12, y.maxWidth));
this.cw = Math.max(1, Math.min(this.cw, Math.floor(12e3 / e)));
const r = this.grid.height ?? 430;
this.ch = this.grid.cellHeight ?? Math.max(l ? 1 : y.minHeight, Math.min(y.maxHeight, Math.floor(r / t)));
this.ch = Math.max(1, Math.min(this.ch, Math.floor(12e3 / t)));
const h = i.map((t) => w(t.text, 20)),
c = o(h);
this.turned = c + 6 > this.cw;
this.every = this.turned ? Math.max(1, Math.ceil((y.label + 2) / this.cw)) : 1;
this.rowEvery = Math.max(1, Math.ceil((y.label + 2) / this.ch));
this.plotWidth = this.cw * e;
this.plotHeight = this.ch * t;
this.lean = this.turned ? Math.ceil(c * 0.5) + 8 : 0;
this.bottom = (this.turned ? Math.ceil(c * 0.87) + 14 : 20) + (this.grid.columnTitle ? 16 : 0);
this.turnedTexts = h;
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
this.theme = f(this.element);
this.layout();
const { rows: t, columns: e, columnLabels: s, rowLabels: i } = this.grid,
{ theme: n } = this;
const o = this.size(this.base, this.plotWidth + this.lean, this.plotHeight + this.bottom);
this.size(this.overlay, this.plotWidth, this.plotHeight);
if (this.grid.image) {
o.imageSmoothingEnabled = false;
o.drawImage(this.grid.image(n), 0, 0, this.plotWidth, this.plotHeight);
} else this.drawCells(o);
o.strokeStyle = n.muted;
o.globalAlpha = 0.5;
o.lineWidth = 1;
o.strokeRect(0.5, 0.5, this.plotWidth - 1, this.plotHeight - 1);
o.globalAlpha = 1;
o.textBaseline = "middle";
for (let t = 0; t < e; t += this.every) {
const { strong: e } = s[t],
i = (t + 0.5) * this.cw;
o.font = `${e ? "bold " : ""}${y.label}px ${n.mono}`;
o.fillStyle = e ? n.accent : n.text;
o.save();
if (this.turned) {
o.translate(i - 2, this.plotHeight + 6);
o.rotate(Math.PI / 3);
o.textAlign = "left";
} else {
o.translate(i, this.plotHeight + 10);
o.textAlign = "center";
}
o.fillText(this.turnedTexts[t], 0, 0);
o.restore();
}
o.fillStyle = n.muted;
o.font = `${y.label}px ${n.font}`;
if (this.grid.columnTitle) {
o.textAlign = "left";
o.fillText(this.grid.columnTitle, 0, this.plotHeight + this.bottom - 8);
}
const a = this.size(this.rowLabels, this.left, this.plotHeight + this.bottom);
a.textAlign = "right";
a.textBaseline = "middle";
a.fillStyle = n.text;
a.font = `${y.label}px ${n.mono}`;
for (let e = 0; e < t; e += this.rowEvery) a.fillText(i[e], this.left - 5, this.y(e) + this.ch / 2);
if (this.grid.rowTitle) {
a.save();
a.translate(8, this.plotHeight / 2);
a.rotate(-Math.PI / 2);
a.textAlign = "center";
a.fillStyle = n.muted;
a.font = `${y.label}px ${n.font}`;
a.fillText(this.grid.rowTitle, 0, 0);
a.restore();
}
this.drawOverlay();
this.announce();
}
drawCells(e) {
const { rows: s, columns: i, colour: n } = this.grid,
o = t("canvas", { width: i, height: s }),
a = o.getContext("2d");
const l = a.createImageData(i, s),
r = [];
for (let t = 0; t < s; t++)
for (let e = 0; e < i; e++) {
const o = n(t, e, this.theme),
a = 4 * ((this.grid.flip ? s - 1 - t : t) * i + e),
[h, c, d] = o ?? this.theme.missing;
if (!o && r.length < 2e4) r.push([t, e]);
l.data[a] = h;
l.data[a + 1] = c;
l.data[a + 2] = d;
l.data[a + 3] = 255;
}
a.putImageData(l, 0, 0);
e.imageSmoothingEnabled = false;
e.drawImage(o, 0, 0, this.plotWidth, this.plotHeight);
if (this.cw < 5 || this.ch < 5) return;
e.strokeStyle = this.theme.background;
e.globalAlpha = 0.55;
e.lineWidth = 1.5;
e.beginPath();
for (const [t, s] of r) {
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
const n = (n, o, a, l = []) => {
if (!n) return;
const r = n.column * e,
h = this.y(n.row);
t.setLineDash(l);
for (const [n, l] of [
[i.background, 2],
[o, 0],
]) {
t.strokeStyle = n;
t.lineWidth = a + l;
t.strokeRect(r + 1, h + 1, Math.max(e - 2, 1), Math.max(s - 2, 1));
}
t.setLineDash([]);
};
for (const n of this.marks) {
const o = n.column * e + e / 2,
a = this.y(n.row) + s / 2,
l = Math.max(2, Math.min(4, e / 4, s / 4));
t.beginPath();
t.arc(o, a, l, 0, 7);
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
{ cw: n, ch: o } = this;
t.lineWidth = 1;
const a = n >= 6 && o >= 6,
l = new Path2D();
for (let r = 0; r < e; r++)
for (let e = 0; e < s; e++) {
if (!i(r, e)) continue;
const s = e * n,
h = this.y(r),
c = this.grid.flip ? r + 1 : r - 1,
u = this.grid.flip ? r - 1 : r + 1;
if (a) {
const i = this.grid.colour ? (this.grid.colour(r, e, this.theme) ?? this.theme.missing) : this.theme.missing;
t.fillStyle = d(i) > 0.45 ? "rgba(0,0,0,.62)" : "rgba(255,255,255,.75)";
t.fillRect(s + n / 2 - 1, h + o / 2 - 1, 2, 2);
}
if (!i(c, e)) {
l.moveTo(s, h + 0.5);
l.lineTo(s + n, h + 0.5);
}
if (!i(u, e)) {
l.moveTo(s, h + o - 0.5);
l.lineTo(s + n, h + o - 0.5);
}
if (!i(r, e - 1)) {
l.moveTo(s + 0.5, h);
l.lineTo(s + 0.5, h + o);
}
if (!i(r, e + 1)) {
l.moveTo(s + n - 0.5, h);
l.lineTo(s + n - 0.5, h + o);
}
}
t.strokeStyle = this.theme.background;
t.lineWidth = 3;
t.stroke(l);
t.strokeStyle = this.theme.text;
t.lineWidth = 1.25;
t.stroke(l);
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
const o = n.left - i.left + (e.column + 1) * this.cw + 8,
a = n.top - i.top + this.y(e.row) + this.ch + 6;
const l = o + this.tip.offsetWidth > i.width ? o - this.cw - this.tip.offsetWidth - 16 : o;
const r = a + this.tip.offsetHeight > i.height ? a - this.ch - this.tip.offsetHeight - 12 : a;
this.tip.style.left = `${Math.max(0, l)}px`;
this.tip.style.top = `${Math.max(0, r)}px`;
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
const o = {
ArrowUp: [e, 0],
ArrowDown: [-e, 0],
ArrowLeft: [0, -1],
ArrowRight: [0, 1],
PageUp: [5 * e, 0],
PageDown: [-5 * e, 0],
Home: [0, -i],
End: [0, i],
};
if (t.key in o) {
n.row += o[t.key][0];
n.column += o[t.key][1];
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
class x {
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
update({ ramp: t, low: s, middle: i = "", high: n, title: o }) {
const a = this.canvas.getContext("2d");
for (let e = 0; e < 128; e++) {
a.fillStyle = c(t(e / 127));
a.fillRect(e, 0, 1, 8);
}
e(this.low, s);
e(this.middle, i);
e(this.high, n);
e(this.title, o);
this.element.setAttribute("aria-label", `Colour scale: ${o}, from ${s} to ${n}`);
}
}
const k = (t) => {
if (!t) return new Float32Array(0);
const e = t instanceof ArrayBuffer ? new DataView(t) : t;
const s = e.byteOffset % 4 ? e.buffer.slice(e.byteOffset, e.byteOffset + e.byteLength) : e.buffer;
return new Float32Array(s, e.byteOffset % 4 ? 0 : e.byteOffset, Math.floor(e.byteLength / 4));
};
const M = (t) => new Uint8Array(t.buffer ?? t, t.byteOffset ?? 0, t.byteLength);
const $ = { full: (t) => t, root: (t) => Math.sign(t) * Math.sqrt(Math.abs(t)), head: (t, e) => (e ? t / e : 0) };
function T({ model: o, el: h }) {
const u = [],
m = (t) => o.get(t);
const f = (t, e) => {
for (const s of t) {
o.on(`change:${s}`, e);
u.push(() => o.off(`change:${s}`, e));
}
};
const y = (t) => {
for (const [e, s] of Object.entries(t)) o.set(e, s);
o.save_changes();
};
let T = null,
A = null;
const C = t("textarea", { rows: 2, spellcheck: "false", "data-testid": "text" });
const L = () => {
if (C.value !== m("text")) y({ text: C.value, which: "text" });
};
C.onchange = L;
C.onkeydown = (t) => {
if (t.key === "Enter" && (t.ctrlKey || t.metaKey)) {
t.preventDefault();
L();
}
};
const H = t(
"select",
{ "data-testid": "which", onchange: () => y({ which: H.value }) },
...m("choices").map((t) => i(t, t)),
);
const S = t("select", { "data-testid": "layer", onchange: () => y({ layer: Number(S.value) }) });
const W = t("select", { "data-testid": "head", onchange: () => y({ head: Number(W.value) }) });
const E = t(
"select",
{ "data-testid": "scale", onchange: () => y({ scale: E.value }) },
i("full", "0 to 1"),
i("root", "square root (small weights visible)"),
i("head", "each head's largest"),
);
const O = t("input", { type: "checkbox", "data-testid": "hide-first", onchange: () => y({ hide_first: O.checked }) });
const z = t(
"select",
{ "data-testid": "reverse", onchange: () => y({ reverse: z.value === "to" }) },
i("from", "attends to"),
i("to", "is attended by"),
);
const D = t("span", { class: "mn-note", role: "status", "data-testid": "status" }),
R = t("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
const P = (t, e) => A.values[t * A.size + e];
const F = (t, e) => e > t,
I = (t) => t === 0 && m("hide_first");
const q = (t) => p(A.tokens[t] ?? "");
const K = new b({
label: "All heads. Arrow keys move, Enter chooses a head.",
testid: "heads",
name: (t, e) => (T ? `layer ${T.layers[e]}, head ${T.heads[t]}` : ""),
select: (t) => y({ layer: T.layers[t.column], head: T.heads[t.row] }),
});
const N = new b({
label:
"Attention of the chosen head: rows are queries, columns are keys. Arrow keys move, Enter chooses the token.",
testid: "pattern",
name: (t, e) =>
!A
? ""
: F(t, e)
? `query ${t} ${q(t)}, key ${e} ${q(e)}, later token, masked`
: `query ${t} ${q(t)}, key ${e} ${q(e)}, ${v(P(t, e))}`,
select: (t) => y({ token: m("reverse") ? t.column : t.row }),
hover: (t) => {},
});
const _ = new x("colour-bar"),
j = t("div", {
class: "mn-strip",
role: "listbox",
"aria-orientation": "horizontal",
tabindex: "0",
"aria-label": "Tokens of the prompt; arrow keys choose one",
"data-testid": "strip",
"data-id": a("token"),
});
const B = t("div", { class: "mn-readout", "data-testid": "readout", "aria-live": "polite" }),
U = t("ol", { class: "mn-top", "data-testid": "top" }),
X = t("h3", { "data-testid": "head-title" });
const Y = (e) => {
const s = T.size,
i = 1,
n = s + 2 * i,
o = T.heads.length,
a = T.layers.length,
l = t("canvas", { width: a * n, height: o * n });
const r = l.getContext("2d"),
h = r.createImageData(l.width, l.height),
c = $[m("scale")],
d = T.signed;
for (let t = 0; t < h.data.length; t += 4) {
h.data[t] = e.page[0];
h.data[t + 1] = e.page[1];
h.data[t + 2] = e.page[2];
h.data[t + 3] = 255;
}
for (let t = 0; t < a; t++)
for (let a = 0; a < o; a++) {
const r = (t * o + a) * s * s;
let u = 0;
const f = (t) => (d ? (T.image[r + t] - 128) / 127 : T.image[r + t] / 255);
if (m("scale") === "head") for (let t = 0; t < s * s; t++) u = Math.max(u, Math.abs(f(t)));
for (let o = 0; o < s; o++)
for (let r = 0; r <= o; r++) {
const m = c(f(o * s + r), u),
[g, p, w] = d ? e.diverging(0.5 + m / 2) : e.single(m),
v = 4 * ((a * n + i + o) * l.width + t * n + i + r);
h.data[v] = g;
h.data[v + 1] = p;
h.data[v + 2] = w;
}
}
r.putImageData(h, 0, 0);
return l;
};
const V = () => {
if (!at.isConnected) return;
const t = !!(T && A?.size);
ot.hidden = K.element.hidden = nt.hidden = !t;
it.hidden = t || !!m("error").text;
if (!t) return;
const s = at.clientWidth - 30 || 700,
i = Math.max(14, Math.min(34, Math.floor((s - 50) / T.layers.length)));
K.update(
{
rows: T.heads.length,
columns: T.layers.length,
rowLabels: T.heads.map(String),
columnLabels: T.layers.map((t) => ({ text: String(t) })),
rowTitle: "head",
columnTitle: "layer",
image: Y,
cellWidth: i,
cellHeight: i,
tip: (t, e) => [["", `layer ${T.layers[e]}, head ${T.heads[t]}`]],
},
s,
);
K.selected = { row: T.heads.indexOf(m("head")), column: T.layers.indexOf(m("layer")) };
K.focus = { ...K.selected };
K.drawOverlay();
K.announce();
let n = 0;
for (let t = 0; t < A.size; t++) for (let e = 0; e <= t; e++) if (!I(e)) n = Math.max(n, Math.abs(P(t, e)));
const o = $[m("scale")],
a = A.signed,
l = A.tokens.map((t) => ({ text: p(t) }));
G = (t, e) => {
const s = o(t, n);
return a ? e.diverging(0.5 + s / 2) : e.single(s);
};
const r = Math.max(260, Math.min(s * 0.55, s - 330)),
h = Math.floor((r - 130) / A.size);
N.update(
{
rows: A.size,
columns: A.size,
rowLabels: l.map((t) => w(t.text, 16)),
columnLabels: l,
rowTitle: "query",
columnTitle: "key",
height: 460,
cellWidth: Math.max(3, Math.min(26, h)),
cellHeight: Math.max(3, Math.min(26, h)),
colour: (t, e, s) => (F(t, e) || I(e) ? s.page : G(P(t, e), s)),
tip: (t, e) => [
["query", `${t} ${q(t)}`],
["key", `${e} ${q(e)}`],
F(t, e) ? ["", "later token: masked"] : ["attention", v(P(t, e))],
],
},
r,
);
const c = m("scale") === "head" ? n : 1;
_.update({
ramp: a ? N.theme.diverging : N.theme.single,
low: a ? v(-c) : "0",
middle: a ? "0" : m("scale") === "root" ? "0.25" : "",
high: v(c),
title: a ? "attention, clean minus corrupted" : "attention weight",
});
e(X, `Head ${m("layer")}.${m("head")}`);
Z();
};
let G = () => [0, 0, 0];
const J = () => {
const t = Q(),
e = [];
for (let s = 0; s < A.size; s++) {
const [i, n] = m("reverse") ? [s, t] : [t, s];
e.push(F(i, n) ? null : P(i, n));
}
return e;
};
const Q = () => Math.max(0, Math.min(A.size - 1, m("token") < 0 ? A.size + m("token") : m("token")));
const Z = () => {
const e = J(),
s = Q(),
i = N.theme,
n = j.dataset.id;
j.replaceChildren(
...A.tokens.map((o, a) => {
const l = e[a] === null || (!m("reverse") && I(a)),
r = l ? i.page : G(e[a], i);
const h = t("span", {
class: `mn-token${a === s ? " mn-chosen" : ""}`,
role: "option",
id: `${n}-${a}`,
"aria-selected": String(a === s),
"data-index": a,
text: p(o),
"aria-label": `${a} ${p(o)}${a === s ? ", chosen" : ""}${l ? "" : `, ${v(e[a])}`}`,
onclick: () => {
j.focus({ preventScroll: true });
y({ token: a });
},
onmouseenter: () => tt(a),
onmouseleave: () => tt(null),
});
h.style.backgroundColor = c(r);
h.style.color = d(r) > 0.5 ? "#1c1c1c" : "#ffffff";
return h;
}),
);
j.setAttribute("aria-activedescendant", `${n}-${s}`);
const o = e
.map((t, e) => [t, e])
.filter(([t, e]) => t !== null && (m("reverse") || !I(e)))
.sort((t, e) => Math.abs(e[0]) - Math.abs(t[0]))
.slice(0, 10);
U.replaceChildren(
...o.map(([e, s]) =>
t(
"li",
{},
t("span", { class: "mn-p-bar", style: `width:${Math.min(100, 100 * Math.abs(e)).toFixed(1)}%` }),
t("code", { text: `${s} ${w(q(s), 30)}` }),
t("span", { class: "mn-p", text: v(e) }),
),
),
);
tt(null);
};
const tt = (t) => {
const s = Q(),
i = m("reverse") ? "is attended by" : "attends to",
n = J();
if (t !== null && t !== undefined) {
e(
B,
n[t] === null
? `${q(t)} comes ${m("reverse") ? "before" : "after"} ${q(s)}: masked`
: `${q(s)} ${i} ${q(t)}: ${v(n[t])}`,
);
return;
}
const o = !m("reverse") && m("hide_first") && !A.signed ? ` · the hidden first token takes ${v(P(s, 0))}` : "";
e(B, `Token ${s}, ${q(s)}, ${i}:${o}`);
};
j.onkeydown = (t) => {
const e = Q(),
s = {
ArrowLeft: e - 1,
ArrowRight: e + 1,
ArrowUp: e - 1,
ArrowDown: e + 1,
Home: 0,
End: A.size - 1,
PageUp: e - 10,
PageDown: e + 10,
}[t.key];
if (s === undefined || t.ctrlKey || t.metaKey || t.altKey) return;
t.preventDefault();
t.stopPropagation();
y({ token: Math.max(0, Math.min(A.size - 1, s)) });
};
const et = (t, e, s) => {
if (t.length !== e.length) t.replaceChildren(...e.map((t) => i(String(t), String(t))));
t.value = String(s);
};
const st = () => {
const s = m("overview"),
i = m("pattern");
T = s.image ? { ...s, image: M(s.image) } : null;
A = i.values ? { ...i, values: k(i.values) } : null;
if (document.activeElement !== C) C.value = m("text");
H.value = m("which");
E.value = m("scale");
O.checked = m("hide_first");
z.value = m("reverse") ? "to" : "from";
if (T) {
et(S, T.layers, m("layer"));
et(W, T.heads, m("head"));
}
e(D, m("status"));
const n = m("error");
R.hidden = !n.text;
R.replaceChildren(...(n.text ? [t("strong", { text: n.title }), t("pre", { text: n.text })] : []));
V();
};
const it = t(
"div",
{ class: "mn-empty", "data-testid": "empty" },
t("strong", { text: "No text yet" }),
t("p", { text: "Write a text above and press Ctrl+Enter: every head's attention pattern appears here." }),
);
const nt = t("div", {
class: "mn-caption",
text: "All heads, each a small query × key map. Click one, or use the arrow keys and Enter.",
});
const ot = t(
"div",
{ class: "mn-attention" },
t("section", { "aria-label": "Chosen head" }, t("div", { class: "mn-side-head" }, X, _.element), N.element),
t(
"section",
{ class: "mn-read", "aria-label": "Chosen token" },
t("div", { class: "mn-read-head" }, t("span", { text: "The chosen token" }), z),
j,
B,
U,
),
);
const at = t(
"div",
{
class: "mnemoscope mn-attn",
"data-testid": "attention-view",
"data-lm-suppress-shortcuts": "true",
role: "region",
"aria-label": "Attention view",
},
t(
"header",
{ class: "mn-header" },
t("h2", { text: "Attention" }),
t("span", { class: "mn-chip", "data-testid": "model", text: m("model_info").text }),
),
m("choices").length > 1 ? null : n("Text", C),
t(
"div",
{ class: "mn-controls" },
m("choices").length > 1 ? n("Prompt", H) : null,
n("Layer", S),
n("Head", W),
n("Colour scale", E),
t("label", { class: "mn-check" }, O, "hide the first token (attention sink)"),
D,
),
R,
it,
nt,
t("div", { class: "mn-heads" }, K.element),
ot,
);
z.setAttribute("aria-label", "Direction of reading");
l(h, at);
f(["overview", "pattern", "status", "error", "layer", "head", "scale", "hide_first", "reverse", "which", "text"], st);
f(["token"], () => {
if (A && at.isConnected) Z();
});
u.push(g(V), s(at, at, V), r(m("static_key")));
st();
return () => {
for (const t of u) t();
};
}
var A = { render: T };
export { A as default };
