// Built by npm run build from 11 files, sha256 7b0f7e9bda2df338e56bc951244b9369d946d476fa0d8f6483faab782050ff7a
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
const o = new ResizeObserver(() => {
const o = t.isConnected ? e.clientWidth : 0,
a = Math.abs(o - n) > 4;
n = o;
if (!o) return;
if (a) s();
t.setAttribute("data-ready", "true");
});
o.observe(e);
return () => o.disconnect();
};
const n = (e, s, n) => {
const o = URL.createObjectURL(n instanceof Blob ? n : new Blob([n], { type: s }));
const a = t("a", { href: o, download: e });
document.body.append(a);
a.click();
a.remove();
setTimeout(() => URL.revokeObjectURL(o), 1e4);
};
const o = async (t, e) => {
try {
await navigator.clipboard.writeText(t);
} catch {
e.focus();
e.select();
document.execCommand("copy");
}
};
const a = (e, s) => t("option", { value: e, text: s });
const r = (e, s, n) => t("label", { class: "mn-field" }, t("span", { class: "mn-label", text: e }), s, null);
const i = (t, e) => {
t.append(e);
e.addEventListener("pointerdown", (t) => {
const e = t.button === 0 && t.target.closest("button");
if (!e || e.disabled) return;
const s = (n) => {
if (n.pointerId !== t.pointerId) return;
document.removeEventListener("pointerup", s, true);
document.removeEventListener("pointercancel", s, true);
const o = Math.hypot(n.clientX - t.clientX, n.clientY - t.clientY) < 6;
if (n.type === "pointerup" && o && !e.contains(n.target) && e.isConnected) e.click();
};
document.addEventListener("pointerup", s, true);
document.addEventListener("pointercancel", s, true);
});
};
const c = (e) => {
if (!e || !/^[\w-]+$/.test(e)) return () => {};
const s = t("style", {
text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none ` + `!important; }`,
});
document.head.append(s);
return () => s.remove();
};
const l = (t) => {
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
const d = (t, e) => ([...t].length > e ? [...t].slice(0, e - 1).join("") + "…" : t);
const h = (t) =>
t.map((t) => (typeof t === "string" ? `"${t.replace(/"/g, '""')}"` : Number.isNaN(t) ? "" : String(t))).join(",") +
"\r\n";
const u = (t) => t === null || t === undefined || Number.isNaN(t);
const m = (t, e) => `${t.toLocaleString("en")} ${e}${t === 1 ? "" : "s"}`;
const f = (t) => {
if (u(t)) return "–";
const e = Math.abs(t);
return (e && (e < 1e-4 || e >= 1e6) ? t.toExponential(1) : String(Number(t.toPrecision(3)))).replace(/-/g, "−");
};
const p = (t) => (u(t) ? "–" : `${f(100 * t)} %`);
const g = (t, e, s = f) => (u(t) || u(e) ? "" : `${s(t)} to ${s(e)}`);
const b = (t) => l(t).replace(/·/g, " ");
const w = {
text: "var(--mn-text)",
muted: "var(--mn-muted)",
line: "var(--mn-line)",
accent: "var(--mn-accent)",
other: "var(--mn-other)",
page: "var(--mn-bg)",
};
const v = { text: "#1c1c1c", muted: "#555555", line: "#d0d0d0", accent: "#0b61b8", other: "#b35900", page: "#ffffff" };
const x = (t, e = {}, ...s) => {
const n = document.createElementNS("http://www.w3.org/2000/svg", t);
for (const [t, s] of Object.entries(e)) if (!u(s)) n.setAttribute(t, s);
n.append(...s);
return n;
};
const y = (t) => ({
text: new XMLSerializer().serializeToString(t),
width: Number(t.getAttribute("width")),
height: Number(t.getAttribute("height")),
});
const $ = (t, e, s) => {
const n = (e - t) / Math.max(1, s) || 1,
o = 10 ** Math.floor(Math.log10(n)),
a = o * ([1, 2, 5].find((t) => t * o >= n * 0.999) ?? 10),
r = [];
for (let s = Math.ceil(t / a - 1e-9); s * a <= e + 1e-9 * a; s++) r.push(Number((s * a).toPrecision(12)) || 0);
return r;
};
const k = (t, { width: e, height: s, title: n, label: o, x: a, y: r, left: i = 54 }) => {
const c = e - 14,
l = n ? 30 : 14,
d = s - 38,
h = (e, s) => x("text", { style: `fill:${t.muted}`, "font-size": 10.5, ...e }, s);
const u = (t, e, s) => {
const n = t.map ?? ((t) => t),
o = n(t.low),
a = n(t.high);
return (t) => e + ((n(t) - o) / (a - o || 1)) * (s - e);
};
const m = u(a, i, c),
f = u(r, d, l);
const p = x("svg", {
xmlns: "http://www.w3.org/2000/svg",
viewBox: `0 0 ${e} ${s}`,
width: e,
height: s,
role: "img",
"aria-label": o,
"font-family": "system-ui, DejaVu Sans, Arial, sans-serif",
"font-size": 11,
});
if (n) p.append(h({ x: 2, y: 13, "font-size": 12, "font-weight": 600, style: `fill:${t.text}` }, n));
for (const [e, s] of r.marks)
p.append(
x("line", { x1: i, x2: c, y1: f(e), y2: f(e), style: `stroke:${t.line}`, "stroke-width": 0.7 }),
h({ x: i - 6, y: f(e) + 3.5, "text-anchor": "end" }, s),
);
let g = -99;
for (const [t, s] of a.marks) {
const n = m(t),
o = s.length * 3 + 3;
if (n - o < g) continue;
g = n + o;
p.append(h({ x: Math.min(n, e - o - 2), y: d + 14, "text-anchor": "middle" }, s));
}
p.append(
x("line", { x1: i, x2: c, y1: d, y2: d, style: `stroke:${t.muted}` }),
h({ x: (i + c) / 2, y: s - 5, "text-anchor": "middle" }, a.title),
h({ transform: `translate(11 ${(l + d) / 2}) rotate(-90)`, "text-anchor": "middle" }, r.title),
);
return { root: p, X: m, Y: f, left: i, right: c, top: l, bottom: d, words: h };
};
const M = (...e) => t("thead", {}, t("tr", {}, ...e.map((e) => t("th", { scope: "col", text: e }))));
const C = (e, s, n) =>
t(
"div",
{ class: "mn-tablebox" },
t(
"table",
{ class: "mn-table", "data-testid": e },
M(...s),
t(
"tbody",
{},
...n.map(([e, ...s]) =>
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
const S = (t) => [1, 3, 5].map((e) => parseInt(t.slice(e, e + 2), 16));
const N = ([t, e, s]) => `rgb(${Math.round(t)},${Math.round(e)},${Math.round(s)})`;
const A = ([t, e, s]) => (0.2126 * t + 0.7152 * e + 0.0722 * s) / 255;
const E = (t) => {
const e = t.map(S),
s = e.length - 1;
return (t) => {
const n = Math.min(1, Math.max(0, t)) * s,
o = Math.min(s - 1, Math.floor(n)),
a = n - o;
return e[o].map((t, s) => t + a * (e[o + 1][s] - t));
};
};
const L = {
light: {
diverging: E(["#0a3a75", "#2f7fc1", "#a6cdec", "#f9f9f7", "#fbc98f", "#dd7f1d", "#853703"]),
single: E(["#f9f9f7", "#b9d8ee", "#5a9fd4", "#1f62a6", "#08264f"]),
missing: [214, 214, 214],
ink: "#1c1c1c",
},
dark: {
diverging: E(["#a9d6ff", "#4a9be0", "#22507d", "#202328", "#7a4515", "#dd8430", "#ffd0a0"]),
single: E(["#202328", "#1d4a73", "#2f7fc1", "#7cbcf0", "#e6f4ff"]),
missing: [78, 82, 88],
ink: "#f2f2f2",
},
};
const _ = (e) => {
const s = getComputedStyle(e.closest(".mnemoscope") ?? e);
const n = (t, e) => s.getPropertyValue(t).trim() || e;
const o = t("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
o.fillStyle = "#ffffff";
o.fillStyle = s.backgroundColor;
o.fillRect(0, 0, 1, 1);
const a = [...o.getImageData(0, 0, 1, 1).data].slice(0, 3),
r = A(a) < 0.4;
const i = r ? L.dark : L.light;
return {
dark: r,
...i,
page: a,
text: s.color,
muted: n("--mn-muted", "#666"),
accent: n("--mn-accent", "#0b6bcb"),
background: s.backgroundColor,
font: n("--mn-font", "system-ui, sans-serif"),
mono: n("--mn-mono", "monospace"),
};
};
const j = (t) => {
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
const O = (s, n, { title: o, start: a, stop: r }) => {
const i = t("button", {
class: "mn-button mn-primary",
type: "button",
"data-testid": "run",
text: "Run",
title: o,
onclick: a,
});
const c = t("button", {
class: "mn-button",
type: "button",
"data-testid": "stop",
text: "Stop",
title: "Stop after the layer in progress; finished layers stay",
onclick: r,
});
const l = t("div", { class: "mn-progress-fill" }),
d = t("span", { class: "mn-note", "data-testid": "progress", role: "status" });
const h = t(
"div",
{
class: "mn-progress",
role: "progressbar",
"aria-label": "Layers computed",
"aria-valuemin": 0,
"aria-valuemax": 100,
},
l,
);
const u = t("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
const m = () => {
const o = s.get("status"),
a = s.get("progress"),
r = a.total ? Math.round((100 * a.done) / a.total) : 0,
i = s.get("error");
c.disabled = o !== "running";
n().setAttribute("data-status", o);
h.hidden = o !== "running" && o !== "stopping";
l.style.width = `${r}%`;
h.setAttribute("aria-valuenow", r);
e(d, a.text ?? "");
u.hidden = !i.text;
u.replaceChildren(...(i.text ? [t("strong", { text: i.title }), t("pre", { text: i.text })] : []));
};
return {
run: i,
error: u,
draw: m,
element: t("div", { class: "mn-run" }, i, c, t("div", { class: "mn-status" }, h, d)),
};
};
const T = (e, s = 3) =>
new Promise((n, o) => {
const a = new Image();
a.onload = () => {
const o = t("canvas", { width: e.width * s, height: e.height * s });
const r = o.getContext("2d");
r.scale(s, s);
r.drawImage(a, 0, 0);
o.toBlob(n, "image/png");
};
a.onerror = () => o(new Error("the browser could not draw the figure"));
a.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(e.text);
});
const q = (t) => {
const e = t.reduce((t, e) => t + e.width, 0),
s = Math.max(...t.map((t) => t.height));
let n = 0;
const o = t
.map((t) => {
const e = n;
n += t.width;
return t.text.replace("<svg ", `<svg x="${e}" `);
})
.join("");
return {
text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${s}" viewBox="0 0 ${e} ` +
`${s}"><rect width="100%" height="100%" fill="#ffffff"/>${o}</svg>`,
width: e,
height: s,
};
};
const P = (s, a, { stem: i, figure: c, table: l, example: d }) => {
const h = t("textarea", {
class: "mn-code",
readonly: true,
rows: 12,
spellcheck: "false",
"aria-label": "Python that reproduces this view",
"data-testid": "code",
});
const u = t("input", { type: "text", "data-testid": "path", placeholder: d, spellcheck: "false" });
const m = t("div", { class: "mn-note", "data-testid": "saved", role: "status" }),
f = t("input", { type: "checkbox", "data-testid": "overwrite" });
const p = () => a("save", { path: u.value, overwrite: f.checked });
u.onkeydown = (t) => {
if (t.key === "Enter") p();
};
const g = (e, s, n, o = "") =>
t("button", { type: "button", class: `mn-button ${o}`, "data-testid": e, text: s, onclick: n });
const b = async (t) => {
const s = t.currentTarget;
await o(h.value, h);
e(s, "Copied");
setTimeout(() => e(s, "Copy"), 1500);
};
const w = t(
"div",
{},
t(
"div",
{ class: "mn-buttons" },
g("svg", "Figure (SVG)", () => n(`${i()}.svg`, "image/svg+xml", c().text)),
g("png", "Figure (PNG)", async () => n(`${i()}.png`, "image/png", await T(c()))),
g("csv", "Data (CSV)", () => n(`${i()}.csv`, "text/csv", l())),
),
t(
"div",
{ class: "mn-saverow" },
r("Save the labelled data on the kernel’s machine as", u),
g("save", "Save", p),
t("label", { class: "mn-check" }, f, "replace what is there"),
),
m,
);
const v = t(
"details",
{ class: "mn-more", "data-testid": "export" },
t("summary", { text: "Export and code" }),
w,
t(
"div",
{ class: "mn-side-head" },
t("span", { class: "mn-label", text: "Python that reproduces this view" }),
g("copy", "Copy", b, "mn-small"),
),
h,
);
const x = () => {
const t = s.get("saved");
e(m, t.text ?? "");
m.classList.toggle("mn-bad", t.ok === false);
h.value = s.get("code");
};
return { element: v, files: w, draw: x };
};
const z = (t) => {
if (!t) return new Float32Array(0);
const e = t instanceof ArrayBuffer ? new DataView(t) : t;
const s = e.byteOffset % 4 ? e.buffer.slice(e.byteOffset, e.byteOffset + e.byteLength) : e.buffer;
return new Float32Array(s, e.byteOffset % 4 ? 0 : e.byteOffset, Math.floor(e.byteLength / 4));
};
const U = (t) => new Uint8Array(t.buffer ?? t, t.byteOffset ?? 0, t.byteLength);
const R = (t) => {
const e = [];
return {
undo: e,
send: (e, s = {}) => t.send({ type: e, ...s }),
listen: (s, n) => {
for (const o of s) {
t.on(`change:${o}`, n);
e.push(() => t.off(`change:${o}`, n));
}
},
set: (e) => {
for (const [s, n] of Object.entries(e)) t.set(s, n);
t.save_changes();
},
};
};
const F = (e, s, n) => {
const o = {},
r = { range: true, number: true };
const i = (t, s) => {
const n = typeof e.get(t);
return n === "boolean" ? s.checked : n !== "number" ? s.value : s.value === "" ? NaN : Number(s.value);
};
const c = (t, e) => {
if (t.type === "checkbox") t.checked = e;
else t.value = e;
};
const l = (t, a) => {
o[t] = a;
a.setAttribute("data-testid", t);
let l,
d,
h = 0;
const u = () => {
clearTimeout(d);
const s = h - Date.now();
if (s > 0) {
d = setTimeout(u, s);
return;
}
if (i(t, a) !== e.get(t)) {
c(a, e.get(t));
a.dispatchEvent(new Event("pulled"));
}
};
u();
s([t], u);
const m = () => {
clearTimeout(l);
const s = i(t, a);
if (!Number.isNaN(s) && s !== e.get(t)) n({ [t]: s });
};
a.addEventListener("change", m);
if (a.tagName !== "SELECT" && a.type !== "checkbox")
a.addEventListener("input", () => {
clearTimeout(l);
if (r[a.type]) {
h = Date.now() + 700;
m();
} else l = setTimeout(m, 350);
});
a.flush = m;
return a;
};
return {
inputs: o,
bound: l,
shown: () =>
Object.fromEntries(
Object.entries(o)
.map(([t, e]) => [t, i(t, e)])
.filter(([, t]) => !Number.isNaN(t)),
),
flush: () => {
for (const t of Object.values(o)) t.flush();
},
area: (e, s = {}) => l(e, t("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", ...s })),
line: (e, s) => l(e, t("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: s })),
choose: (e, s) => l(e, t("select", {}, ...s.map(([t, e]) => a(t, e)))),
};
};
const W = (t) => {
if (!t?.items) return { tokens: [], items: [], made: () => [] };
const e = z(t.made),
s = t.items.map((t) => t.gold.length),
n = s.reduce((t, e) => t + e, 0),
o = n ? e.length / n : 0;
const a = [];
s.reduce((t, e, s) => {
a[s] = t;
return t + e * o;
}, 0);
return { ...t, made: (t, n) => [...e.subarray(a[t] + n * s[t], a[t] + (n + 1) * s[t])] };
};
const D = (e, s, n) => {
const o = (s, o) => {
const a = l(e.tokens[s]);
if (!n || n[o] === s) return t("span", { text: a });
return t(
"mark",
{ title: `differs: in the data ${l(e.tokens[n[o]])}` },
t("span", { class: "mn-hidden", text: "differs: " }),
a,
);
};
return t("span", { class: "mn-tokens" }, ...s.flatMap((e, s) => [o(e, s), t("wbr")]));
};
const X = (t, e) => t.filter((t, s) => t !== e[s]).length;
const B = (e, s, n, o) => {
const a = e.items[s],
r = (e, s, n) =>
t("tr", {}, t("th", { scope: "row", text: e }), t("td", {}, s), t("td", { class: "mn-why", text: n ?? "" }));
return t(
"div",
{ class: "mn-text", "data-testid": "text", "data-what": a.what },
t(
"div",
{ class: "mn-text-head" },
t("strong", { text: b(a.name) }),
t("span", { class: "mn-note", text: ` ${o}` }),
),
t(
"table",
{ class: "mn-lines" },
t(
"tbody",
{},
r("given", D(e, a.given)),
r("in the data", D(e, a.gold)),
...n.map(([n, o]) => {
const i = e.made(s, o),
c = X(i, a.gold);
return c
? r(n, D(e, i, a.gold), `${c} of ${m(i.length, "token")} differ`)
: r(n, t("span", { class: "mn-note", text: "as in the data, word for word" }));
}),
),
),
);
};
const I = (t, e) =>
t.strict === 0
? `The unedited model recites none of the ${m(t.n, "sequence")}${e ? ` “${e}”` : ""} ` +
`word for word${t.loose > 0 ? ` (loosely: ${p(t.loose)})` : ", nor loosely"}: what ` +
`an edit takes away cannot be seen there. Choose text that it knows, a longer prefix or a shorter ` +
`suffix.`
: "";
const V = () =>
t(
"p",
{ class: "mn-note" },
"Tokens that differ from the data: ",
t("span", { class: "mn-tokens" }, t("mark", { text: "boxed and underlined" })),
".",
);
const Y = {
strict: "recited word for word",
loose: "recited loosely (75 % right)",
lev: "edit distance, share of tokens",
exact_prefix: "right tokens from the start",
nll: "loss of the suffix, nats/token",
};
const G = {
sparsity: { title: "share of weights set to 0", unit: "sparsity", taken: "weights" },
kept: { title: "curvature mass kept", unit: "mass kept", taken: "coefficients" },
};
const J = (t, e, s, n, o = 4) =>
e === "edit"
? x("circle", { cx: s, cy: n, r: o, style: `fill:${t.accent};stroke:${t.page}`, "stroke-width": 1 })
: x("rect", {
x: s - o + 0.5,
y: n - o + 0.5,
width: 2 * o - 1,
height: 2 * o - 1,
style: `fill:${t.page};stroke:${t.other}`,
"stroke-width": 1.6,
});
const K = (t, e) => {
const s = 0.06 * (e - t) || 0.05;
return [t - s, e + s];
};
const H = (t, e, s, n, o, a, r, i) => {
for (const c of ["random", "edit"]) {
const l = [s.unedited, ...s[c]].map((t, e) => [t[n], e]),
d = c === "edit" ? "edit" : "control",
h = c === "edit" ? t.accent : t.other;
const m = l
.map(([t, s]) => {
const [n, o, i] = r(t);
return { x: e.X(a(t, s)), y: e.Y(n), low: o, high: i, value: n, i: s, row: t };
})
.filter((t) => Number.isFinite(t.x) && Number.isFinite(t.y) && !u(t.value));
if (!m.length) continue;
e.root.append(
x("path", {
d: `M${m.map((t) => `${t.x.toFixed(1)} ${t.y.toFixed(1)}`).join("L")}`,
style: `fill:none;stroke:${h}`,
"stroke-width": 1.6,
"stroke-dasharray": c === "edit" ? null : "5 4",
}),
);
for (const n of m) {
const a = n.i === o,
r = x(
"g",
{ "data-point": n.i, "data-line": d, style: `stroke:${h}` },
x(
"title",
{},
`${n.i ? `${d === "edit" ? s.method : s.control}, ${f(s.strengths[n.i - 1])}` : "unedited"}` +
`: ${f(n.value)} ${g(n.low, n.high)}`,
),
);
if (!u(n.low) && !u(n.high))
r.append(
x("line", { x1: n.x, x2: n.x, y1: e.Y(n.low), y2: e.Y(n.high), "stroke-width": 1.2, opacity: a ? 1 : 0.45 }),
);
const c = i?.(n.row);
if (c && !u(c[0]))
r.append(
x("line", { x1: e.X(c[0]), x2: e.X(c[1]), y1: n.y, y2: n.y, "stroke-width": 1.2, opacity: a ? 1 : 0.45 }),
);
r.append(J(t, d, n.x, n.y));
if (a)
r.append(
x("circle", {
cx: n.x,
cy: n.y,
r: 8.5,
style: `fill:none;stroke:${t.text}`,
"stroke-width": 1.8,
class: "mn-here",
}),
);
e.root.append(r);
}
}
};
const Q = (t) => Math.asinh(t / 0.1);
const Z = (t, e, s, n, o, a, r) => {
const i = [e.unedited, ...e.edit, ...e.random].map((t) => t[s]),
c = i.flatMap((t) => [t.rise, t.rise_low, t.rise_high]).filter((t) => !u(t)),
l = Math.max(0.02, ...c),
d = l > 1;
const h = Math.min(0, ...c),
p = d ? [-1, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30].filter((t) => t <= l && t >= h) : $(h, l, a / 110);
const g = k(t, {
width: a,
height: r,
title: "Recitation against what it costs",
label:
`Trade-off: ${Y[n]} against the rise of the clean loss; ` +
`${m(e.strengths.length, "point")} of ${e.method}, beside ${e.control}.`,
x: {
low: h - 0.04 * l,
high: l * 1.05,
map: d ? Q : null,
marks: p.map((t) => [t, f(t)]),
title:
a < 360
? `rise, nats per token${d ? " (compressed)" : ""}`
: `rise of the clean loss, nats per token${d ? " (compressed above 0.1)" : ""}`,
},
y: {
low: -0.04,
high: 1.04,
marks: [0, 0.25, 0.5, 0.75, 1].map((t) => [t, `${100 * t} %`]),
title: n === "strict" ? "recited word for word" : "recited loosely",
},
});
H(
t,
g,
e,
s,
o,
(t) => t.rise,
(t) => [t[n], t[`${n}_low`], t[`${n}_high`]],
(t) => [t.rise_low, t.rise_high],
);
return g.root;
};
const tt = (t, e, s, n, o, a, { title: r, read: i, y: c }) => {
const l = ["none", ...e.strengths.map(f)],
d = k(t, {
width: o,
height: a,
title: r,
label:
`${r} by ${G[e.kind].title}: ` +
`${e.edit.map((t, n) => `${f(e.strengths[n])}: ${f(i(t[s])[0])}`).join(", ")}.`,
x: { low: -0.4, high: l.length - 0.6, marks: l.map((t, e) => [e, t]), title: G[e.kind].title },
y: c,
});
d.root.append(
x("line", {
x1: d.X(n),
x2: d.X(n),
y1: d.top,
y2: d.bottom,
style: `stroke:${t.muted}`,
"stroke-width": 1,
"stroke-dasharray": "2 3",
}),
);
H(t, d, e, s, n, (t, e) => e, i);
return d.root;
};
const et = (t, e, s, n, o, a, r) =>
tt(t, e, s, o, a, r, {
title: Y[n][0].toUpperCase() + Y[n].slice(1),
read: (t) => [t[n], t[`${n}_low`], t[`${n}_high`]],
y: { low: -0.04, high: 1.04, marks: [0, 0.5, 1].map((t) => [t, `${100 * t} %`]), title: "share of sequences" },
});
const st = (t, e, s, n, o, a) => {
const r = [...e.edit, ...e.random].flatMap((t) => [t[s].rise, t[s].rise_low, t[s].rise_high]).filter((t) => !u(t)),
[i, c] = K(Math.min(0, ...r), Math.max(0.01, ...r)),
l = c > 1;
return tt(t, e, s, n, o, a, {
title: "Clean loss over the unedited model",
read: (t) => [t.rise, t.rise_low, t.rise_high],
y: {
low: i,
high: c,
map: l ? Q : null,
marks: (l ? [-1, 0, 0.1, 0.3, 1, 3, 10, 30].filter((t) => t >= i && t <= c) : $(i, c, 5)).map((t) => [t, f(t)]),
title: "rise, nats per token",
},
});
};
const nt = (t, e, s, n, o, a) => {
const { matrices: r, blocks: i, names: c } = e.grid,
l = i.length,
d = e.cellsAt(s),
h = Math.max(1e-9, ...d.filter((t) => !u(t))),
m = Math.max(40, ...r.map((t) => t.length * 6.4 + 10));
const g = Math.max(7, Math.min(46, (o - m - 6) / l)),
b = 22,
w = x("svg", {
xmlns: "http://www.w3.org/2000/svg",
width: Math.ceil(m + g * l + 6),
height: b * r.length + 18,
role: "img",
"font-family": "system-ui, DejaVu Sans, Arial, sans-serif",
"font-size": 10.5,
viewBox: `0 0 ${Math.ceil(m + g * l + 6)} ${b * r.length + 18}`,
"aria-label":
`Share of each layer’s ${G[e.kind].taken} taken, ${r.length} matrices by ${l} ` + `blocks, at most ${p(h)}.`,
});
const v = Math.ceil(20 / g),
y = (e, s, n, o = {}) => x("text", { x: e, y: s, style: `fill:${t.muted}`, ...o }, n);
r.forEach((e, s) => {
w.append(y(m - 6, s * b + 15, e, { "text-anchor": "end" }));
i.forEach((e, o) => {
const r = d[s * l + o];
if (!c[s][o]) return;
const i = n.single(u(r) ? 0 : r / h),
v = { x: m + o * g, y: s * b, width: g - 1, height: b - 1 };
w.append(
x(
"rect",
{ ...v, "data-cell": s * l + o, style: `fill:${N(i)};stroke:${t.line}`, "stroke-width": 0.5 },
x("title", {}, `${c[s][o]}: ${p(r)}`),
),
);
if (g >= 34)
w.append(
y(m + o * g + g / 2, s * b + 15, f(100 * r), {
"text-anchor": "middle",
"pointer-events": "none",
style: `fill:${A(i) > 0.45 ? "#1c1c1c" : "#f7f7f7"}`,
}),
);
if (a === s * l + o) w.append(x("rect", { ...v, style: `fill:none;stroke:${t.text}`, "stroke-width": 2.4 }));
});
});
i.forEach((t, e) => {
if (e % v === 0) w.append(y(m + (e + 0.5) * g, b * r.length + 13, String(t), { "text-anchor": "middle" }));
});
return w;
};
const ot = (t) => {
if (!t?.unedited) return null;
const e = z(t.cells),
s = t.grid.matrices.length * t.grid.blocks.length;
return { ...t, texts: W(t.texts), cellsAt: (t) => [...e.subarray((t - 1) * s, t * s)] };
};
const at = [
"strict",
"strict_low",
"strict_high",
"loose",
"loose_low",
"loose_high",
"lev",
"exact_prefix",
"nll",
"loss",
"rise",
"rise_low",
"rise_high",
"ndcg",
];
const rt = (t) =>
[
["unedited", NaN, 0, t.unedited],
...["edit", "random"].flatMap((e) =>
t[e].map((s, n) => [e === "edit" ? "edit" : "control", t.strengths[n], t.shares[n], s]),
),
].flatMap(([e, s, n, o]) =>
t.sets.map((t) => ({
line: e,
strength: s,
share_taken: n,
sequences: t,
n: o[t].n,
...Object.fromEntries(at.map((e) => [e, o[t][e] ?? NaN])),
})),
);
function it({ model: o, el: l }) {
const { undo: $, send: k, listen: M } = R(o),
S = o.get("model_info"),
N = o.get("names");
const A = (t) => {
for (const [e, s] of Object.entries(t)) o.set(e, s);
k("move", { fields: t });
Dt();
};
const { bound: E, shown: L, flush: T, choose: z, line: W } = F(o, M, A);
const D = () => {
const t = L();
t.at = o.get("at");
return t;
};
const X = (t) =>
z(
t,
N[t].map(([t, e]) => [t, d(b(e), 60)]),
);
const K = W("sparsities", "0.005, 0.01, 0.02"),
H = W("kept", "0.9, 0.8, 0.7"),
Q = r("Points: share of weights set to 0", K),
tt = r("Points: curvature mass kept", H);
Q.classList.add("mn-grow");
tt.classList.add("mn-grow");
const at = () => {
T();
k("run", { fields: D() });
};
const {
run: it,
error: ct,
draw: lt,
element: dt,
} = O(o, () => de, {
title: "Compute the curve; points that are there are not computed again (Ctrl+Enter in a field)",
start: at,
stop: () => k("stop"),
});
e(it, "Compute curve");
const ht = dt.querySelector("[data-testid=stop]");
ht.title = "Stop after the point in progress; finished points stay, and the weights are restored";
dt.querySelector(".mn-progress").setAttribute("aria-label", "Points computed");
const ut = t("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true });
const mt = t(
"div",
{},
t(
"div",
{ class: "mn-controls" },
r("Memorised text", X("memorised")),
r("Reference text", X("reference")),
r("Method", z("method", o.get("methods"))),
r("Seed", E("seed", t("input", { type: "number", min: 0, step: 1 }))),
),
t("div", { class: "mn-controls" }, Q, tt, dt),
ut,
ct,
);
const ft = () => (o.get("method") === "curvature" ? "kept" : "sparsity");
const pt = () => {
Q.hidden = ft() !== "sparsity";
tt.hidden = ft() !== "kept";
const e = o.get("doubts"),
s = ["memorised", "reference", "seed"].every((t) => e[t] === o.get(t));
ut.hidden = !s || !e.refused;
ut.replaceChildren(
...(ut.hidden
? []
: [t("strong", { text: "These sets overlap: nothing is run with them" }), t("pre", { text: e.refused })]),
);
if (!ut.hidden && o.get("error").text === e.refused) ct.hidden = true;
};
let gt = null,
bt = -1;
const wt = t(
"div",
{ class: "mn-empty", "data-testid": "empty" },
t("strong", { text: "No curve yet" }),
t("p", {
text:
"“Compute curve” finds the weights that hold the memorised text, takes more and more of them out, " +
"and measures at each point how much is still recited and what clean text loses, beside a random " +
"edit of equal size. The weights are restored after every point.",
}),
);
const vt = t("span", { class: "mn-note", "data-testid": "what" }),
xt = t("div", { class: "mn-warning", "data-testid": "stale", hidden: true }),
yt = t("div", { class: "mn-warning", "data-testid": "notes", hidden: true });
const $t = t("input", {
type: "range",
min: 0,
max: 1,
step: 1,
"data-testid": "at",
"aria-label": "Point of the curve",
}),
kt = t("output", { "data-testid": "here" }),
Mt = t("span", { class: "mn-label" });
const Ct = z("measure", [
["strict", "word for word"],
["loose", "loosely, 75 % right"],
]),
St = t("select", { "data-testid": "set" }),
Nt = t("div", { class: "mn-key" });
const At = t("div", { class: "mn-chart", "data-testid": "plane" }),
Et = t("div", { class: "mn-chart", "data-testid": "recited" }),
Lt = t("div", { class: "mn-chart", "data-testid": "loss" }),
_t = t("div", { "data-testid": "numbers" });
const jt = t("div", {
class: "mn-chart",
tabindex: "0",
role: "group",
"data-testid": "layers",
"aria-label": "Layer map; arrow keys read its cells",
}),
Ot = t("div", { class: "mn-note", "data-testid": "cell", role: "status" }),
Tt = t("h3", {});
const qt = t("p", { class: "mn-note", "data-testid": "unchanged" });
const Pt = t(
"div",
{ class: "mn-moves" },
t("div", { class: "mn-field mn-slide" }, t("span", {}, Mt, kt), $t),
r("Recitation", Ct),
r("of the sequences", St),
);
const zt = t("div", {}, yt, Pt, Nt, t("div", { class: "mn-two" }, At, t("div", {}, Et, Lt)), _t, qt);
const Ut = t(
"section",
{ class: "mn-section", "data-testid": "curve", "aria-label": "Trade-off curve" },
t("div", { class: "mn-side-head" }, t("h3", { text: "How much is recited, and what that costs" }), vt),
xt,
wt,
zt,
);
const Rt = () => (gt ? Math.max(0, Math.min(o.get("at"), gt.strengths.length)) : 0);
const Ft = (t) => {
const e = Math.max(0, Math.min(t, gt.strengths.length));
o.set("at", e);
k("move", { fields: { at: e } });
Zt();
};
$t.oninput = () => {
if (gt) Ft(Number($t.value));
};
for (const t of [At, Et, Lt])
t.addEventListener("click", (t) => {
const e = t.target.closest("[data-point]");
if (e && gt) Ft(Number(e.dataset.point));
});
St.onchange = () => Zt();
const Wt = () =>
gt
? Object.entries(gt.fields)
.filter(([t, e]) => String(o.get(t)) !== String(e))
.map(([t]) => t)
: [];
const Dt = () => {
const t = Wt(),
s = ["running", "stopping"].includes(o.get("status"));
xt.hidden = !t.length || s;
e(
xt,
xt.hidden
? ""
: `The fields have changed (${t.join(", ")}). What stands here is of ${gt.what}; press ` +
`“Compute curve” for the new question.`,
);
};
const Xt = t("div", { "data-testid": "texts" }),
Bt = t("span", { class: "mn-note" });
const It = t("p", { "data-testid": "force", role: "status" }),
Vt = t("button", {
type: "button",
class: "mn-button",
"data-testid": "put",
onclick: () => k("put", { fields: { at: Rt() } }),
}),
Yt = t("button", { type: "button", class: "mn-button", "data-testid": "undo", onclick: () => k("undo") });
const Gt = t("div", { class: "mn-weights", "data-testid": "weights" }, Vt, Yt, It),
Jt = t(
"div",
{},
t(
"section",
{ class: "mn-section", "aria-label": "Weights" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Weights" })),
Gt,
),
t("section", { class: "mn-section", "aria-label": "Layer map" }, t("div", { class: "mn-side-head" }, Tt), jt, Ot),
t(
"section",
{ class: "mn-section", "aria-label": "Texts before and after" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Texts before and after" }), Bt),
V(),
Xt,
),
);
const Kt = (t) => (t ? t.slice(0, 12) : "…");
const Ht = () => {
const s = o.get("force"),
n = Rt(),
a = ["running", "stopping"].includes(o.get("status")),
r = n ? `${G[gt.kind].unit} ${f(gt.strengths[n - 1])}` : "";
Gt.setAttribute("data-state", s.state);
Vt.disabled = a || !n || !!s.doing;
e(Vt, n ? `Put ${r} in force` : "Put an edit in force");
Yt.disabled = s.state !== "in force";
e(
Yt,
s.state === "in force"
? "Undo: weights back, bit-equal"
: s.state === "undone" && s.same
? "Undone: weights bit-equal"
: "Undo",
);
const i =
s.state === "in force"
? `In force: ${s.what}. Weight hash ${Kt(s.before)} → ${Kt(s.now)}; whatever the notebook asks ` +
`this model now is answered by the edited one.`
: s.state === "undone"
? `Undone (${s.what}): weight hash ${Kt(s.now)}, ` +
`${s.same ? `unchanged from ${Kt(s.before)} before the edit` : `NOT the ${Kt(s.before)} from before`}` +
`.`
: s.state === "error"
? ""
: "The model has its own weights. The curve undoes its edits itself; here one can be left in " +
"force, to try the edited model in the notebook.";
It.replaceChildren(s.doing ?? i, ...(s.text ? [t("strong", { class: "mn-bad", text: ` ${s.text}` })] : []));
};
const Qt = (t, e, s) => [s(t[e]), g(t[`${e}_low`], t[`${e}_high`], s)];
const Zt = () => {
if (!gt || !de.isConnected) {
Ht();
return;
}
const s = Rt(),
n = gt,
a = St.value || n.sets[0],
r = n.unedited[a],
i = s ? n.edit[s - 1][a] : null,
c = s ? n.random[s - 1][a] : null,
l = G[n.kind],
d = `${f(100 * S.level)} %`;
$t.max = n.strengths.length;
$t.value = s;
e(Mt, `${l.title[0].toUpperCase() + l.title.slice(1)}: `);
e(kt, s ? `${f(n.strengths[s - 1])} (${p(n.shares[s - 1])} of all ${l.taken} taken)` : "none, the unedited model");
$t.setAttribute(
"aria-valuetext",
s
? `${l.unit} ${f(n.strengths[s - 1])}: ${p(i[o.get("measure")])} recited, clean ` +
`loss ${f(i.rise)} nats higher`
: "unedited",
);
Ut.setAttribute("data-at", s);
_t.replaceChildren(
C(
"point",
["", `unedited, n = ${r.n}`, s ? `${l.unit} ${f(n.strengths[s - 1])}` : "–", s ? n.control : "–"],
[
...["strict", "loose", "lev", "exact_prefix", "nll"].map((t) => {
const e = t === "strict" || t === "loose" || t === "lev" ? p : f;
return [Y[t], Qt(r, t, e), i ? Qt(i, t, e) : "–", c ? Qt(c, t, e) : "–"];
}),
[
`clean loss, nats/token (${m(r.texts, "text")})`,
[f(r.loss), ""],
i ? [f(i.loss), ""] : "–",
c ? [f(c.loss), ""] : "–",
],
["its rise over unedited", "–", i ? Qt(i, "rise", f) : "–", c ? Qt(c, "rise", f) : "–"],
["nDCG@10 to unedited, clean text", [f(r.ndcg), ""], i ? [f(i.ndcg), ""] : "–", c ? [f(c.ndcg), ""] : "–"],
],
),
t("p", {
class: "mn-note",
text:
`${d} intervals: exact (Clopper–Pearson) for shares recited, bootstrap over sequences or ` +
`texts for the others. ` +
(n.sets.length > 1
? "“kept apart”: the half of the sequences that the edit was not found on."
: "Too few sequences to halve: recitation is of those that the edit was found on.") +
` Control: one draw.`,
}),
);
const h = s
? [
["before", 0],
[`after, ${f(n.strengths[s - 1])}`, s],
]
: [["before", 0]];
Xt.replaceChildren(
...n.texts.items.map((t, e) => B(n.texts, e, h, t.what === "clean" ? "clean text, half of it given" : t.what)),
);
e(
Bt,
`memorised sequences ${n.texts.items[0] ? `(${n.texts.items[0].what}, best recited first)` : ""} and clean text`,
);
e(
Tt,
s
? `What the edit takes from each layer, ${l.unit} ${f(n.strengths[s - 1])}`
: "What the edit takes from each layer: nothing yet",
);
Ht();
se();
};
const te = (t, e) => {
const s = Rt(),
n = St.value || gt.sets[0],
a = o.get("measure");
return [Z(t, gt, n, a, s, e[0], 330), et(t, gt, n, a, s, e[1], 168), st(t, gt, n, s, e[1], 168)];
};
const ee = () => {
const t = Rt(),
s = gt;
jt.hidden = Ot.hidden = !t || !s.grid.matrices.length;
if (jt.hidden) return;
jt.replaceChildren(nt(w, s, t, _(de), (de.clientWidth || 900) - 30, document.activeElement === jt ? bt : -1));
const n = s.grid.blocks.length,
o = bt >= 0 ? s.grid.names[Math.floor(bt / n)]?.[bt % n] : "";
const a = G[s.kind].taken;
e(
Ot,
`A column a block; % of the layer’s ${a}, strongest shade ` +
`${p(Math.max(...s.cellsAt(t).filter((t) => !u(t))))}.` +
`${o ? ` ${o}: ${p(s.cellsAt(t)[bt])}.` : ""}`,
);
};
const se = () => {
if (!gt || !de.isConnected) return;
de.setAttribute("data-dark", _(de).dark);
const t = zt.clientWidth || 900,
e = Math.max(260, Math.round(t > 780 ? (t - 24) / 2 : t)),
[s, n, o] = te(w, [e, e]);
At.replaceChildren(s);
Et.replaceChildren(n);
Lt.replaceChildren(o);
ee();
};
jt.onkeydown = (t) => {
const e = gt?.grid.blocks.length,
s = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -e, ArrowDown: e }[t.key];
if (!s || !gt) return;
t.preventDefault();
t.stopPropagation();
const n = bt < 0 ? 0 : bt + s;
if (n >= 0 && n < e * gt.grid.matrices.length) bt = n;
ee();
};
jt.onfocus = () => {
if (bt < 0) bt = 0;
if (gt) ee();
};
jt.onblur = () => {
if (gt) ee();
};
jt.addEventListener("click", (t) => {
const e = t.target.closest("[data-cell]");
if (e) {
bt = Number(e.dataset.cell);
ee();
}
});
const ne = () => {
gt = ot(o.get("found"));
for (const t of [zt, Jt, ie.files]) t.hidden = !gt;
wt.hidden = !!gt;
e(vt, gt?.what ?? "");
Dt();
pt();
if (!gt) {
Ht();
return;
}
const s = gt,
n = St.value;
St.replaceChildren(...s.sets.map((t) => a(t, `${t} (${s.unedited[t].n})`)));
St.value = s.sets.includes(n) ? n : s.sets[0];
Ut.setAttribute("data-points", s.strengths.length);
const r = I(s.unedited[s.sets[0]], s.sets[0]),
i = [
...(r ? [r] : []),
...s.notes,
...s.failed.map(([t, e]) => `Left out: ${t}. ${e[0].toUpperCase()}${e.slice(1)}`),
];
yt.hidden = !i.length;
yt.replaceChildren(t("ul", {}, ...i.map((e) => t("li", { text: e }))));
Nt.replaceChildren(
...[
["edit", s.method],
["control", `${s.control} (control)`],
].map(([e, s]) =>
t(
"span",
{},
x(
"svg",
{ width: 26, height: 12, "aria-hidden": "true" },
x("line", {
x1: 0,
x2: 26,
y1: 6,
y2: 6,
style: `stroke:var(${e === "edit" ? "--mn-accent" : "--mn-other"})`,
"stroke-width": 1.6,
"stroke-dasharray": e === "edit" ? null : "5 4",
}),
J(w, e, 13, 6),
),
s,
),
),
t("span", { text: "◯ the point chosen" }),
);
const [c, l] = s.hashes;
e(
qt,
!c
? ""
: c === l
? `Weight hash before and after all points: ${Kt(c)}, unchanged.`
: `Weight hash ${Kt(c)} before, ${Kt(l)} after: the model was changed meanwhile.`,
);
Zt();
};
const oe = () => `subspace_${gt.fields.method}_${gt.fields.memorised}`.replace(/[^\w-]+/g, "_");
const ae = () => {
const t = rt(gt);
return [Object.keys(t[0]), ...t.map((t) => Object.values(t))].map(h).join("");
};
const re = () => q(te(v, [470, 430]).map(y));
const ie = P(o, (t, e) => k(t, { ...e, fields: D() }), {
stem: oe,
figure: re,
table: ae,
example: "curve.zarr, curve.nc, curve.csv, mask.npz",
});
e(ie.files.querySelector("[data-testid=csv]"), "Curve (CSV)");
e(
ie.files.querySelector(".mn-saverow .mn-label"),
"Save on the kernel’s machine: the curve (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)",
);
ie.files.querySelector(".mn-buttons").append(
t("button", {
type: "button",
class: "mn-button",
"data-testid": "json",
text: "Curve (JSON)",
onclick: () =>
n(
`${oe()}.json`,
"application/json",
JSON.stringify(
{
...gt.fields,
kind: gt.kind,
control: gt.control,
level: S.level,
layers: gt.grid.names.flat().filter(Boolean),
model: S.name,
weights: gt.hashes[0],
points: rt(gt),
},
(t, e) => (typeof e === "number" && !Number.isFinite(e) ? null : e),
1,
),
),
}),
t("button", {
type: "button",
class: "mn-button",
"data-testid": "npz",
text: "Mask shown (npz)",
onclick: () => k("document", { kind: "npz", fields: D() }),
}),
);
let ce = o.get("document").number ?? 0;
const le = () => {
const t = o.get("document");
if (!t.number || t.number === ce) return;
ce = t.number;
n(`${oe()}.${t.kind}`, t.type, U(t.data));
};
const de = t(
"div",
{
class: "mnemoscope mn-memory",
"data-testid": "subspace-bench",
"data-lm-suppress-shortcuts": "true",
role: "region",
"aria-label": "Subspace bench",
onkeydown: (t) => {
if (t.key === "Enter" && (t.ctrlKey || t.metaKey)) {
t.preventDefault();
t.stopPropagation();
it.click();
}
},
},
t(
"header",
{ class: "mn-header" },
t("h2", { text: "Subspace bench" }),
t("span", { class: "mn-chip", "data-testid": "model", text: S.text }),
),
mt,
Ut,
Jt,
ie.element,
);
i(l, de);
M(["found"], ne);
M(["at", "measure"], Zt);
M(["doubts"], pt);
M(["force"], Ht);
M(["memorised", "reference", "method", "seed"], () => {
pt();
Dt();
});
M(["status", "progress", "error"], () => {
lt();
Dt();
pt();
Ht();
});
M(["saved", "code"], ie.draw);
M(["document"], le);
$.push(j(se), s(de, Ut, se), c(o.get("static_key")));
ne();
pt();
lt();
ie.draw();
return () => {
for (const t of $) t();
};
}
var ct = { render: it };
export { ct as default };
