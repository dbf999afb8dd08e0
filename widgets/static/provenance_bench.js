// Built by npm run build from 10 files, sha256 95eb75035c04c9f3e09442c2dffa1c0d024e90afbe5e515693d96a8a411b1e5f
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
const a = new ResizeObserver(() => {
const a = t.isConnected ? e.clientWidth : 0,
o = Math.abs(a - s) > 4;
s = a;
if (!a) return;
if (o) n();
t.setAttribute("data-ready", "true");
});
a.observe(e);
return () => a.disconnect();
};
const s = (e, n, s) => {
const a = URL.createObjectURL(s instanceof Blob ? s : new Blob([s], { type: n }));
const o = t("a", { href: a, download: e });
document.body.append(o);
o.click();
o.remove();
setTimeout(() => URL.revokeObjectURL(a), 1e4);
};
const a = async (t, e) => {
try {
await navigator.clipboard.writeText(t);
} catch {
e.focus();
e.select();
document.execCommand("copy");
}
};
const o = (e, n) => t("option", { value: e, text: n });
const r = (e, n, s) => t("label", { class: "mn-field" }, t("span", { class: "mn-label", text: e }), n, null);
const i = (t, e) => {
t.append(e);
e.addEventListener("pointerdown", (t) => {
const e = t.button === 0 && t.target.closest("button");
if (!e || e.disabled) return;
const n = (s) => {
if (s.pointerId !== t.pointerId) return;
document.removeEventListener("pointerup", n, true);
document.removeEventListener("pointercancel", n, true);
const a = Math.hypot(s.clientX - t.clientX, s.clientY - t.clientY) < 6;
if (s.type === "pointerup" && a && !e.contains(s.target) && e.isConnected) e.click();
};
document.addEventListener("pointerup", n, true);
document.addEventListener("pointercancel", n, true);
});
};
const l = (e) => {
if (!e || !/^[\w-]+$/.test(e)) return () => {};
const n = t("style", {
text:
`.jp-OutputArea-child:has(.mnemoscope-static-${e}), .mnemoscope-static-${e} { display: none ` + `!important; }`,
});
document.head.append(n);
return () => n.remove();
};
const c = (t) => [1, 3, 5].map((e) => parseInt(t.slice(e, e + 2), 16));
const d = ([t, e, n]) => (0.2126 * t + 0.7152 * e + 0.0722 * n) / 255;
const u = (t) => {
const e = t.map(c),
n = e.length - 1;
return (t) => {
const s = Math.min(1, Math.max(0, t)) * n,
a = Math.min(n - 1, Math.floor(s)),
o = s - a;
return e[a].map((t, n) => t + o * (e[a + 1][n] - t));
};
};
const h = {
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
const p = (e) => {
const n = getComputedStyle(e.closest(".mnemoscope") ?? e);
const s = (t, e) => n.getPropertyValue(t).trim() || e;
const a = t("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
a.fillStyle = "#ffffff";
a.fillStyle = n.backgroundColor;
a.fillRect(0, 0, 1, 1);
const o = [...a.getImageData(0, 0, 1, 1).data].slice(0, 3),
r = d(o) < 0.4;
const i = r ? h.dark : h.light;
return {
dark: r,
...i,
page: o,
text: n.color,
muted: s("--mn-muted", "#666"),
accent: s("--mn-accent", "#0b6bcb"),
background: n.backgroundColor,
font: s("--mn-font", "system-ui, sans-serif"),
mono: s("--mn-mono", "monospace"),
};
};
const m = (t) => {
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
const f = (t) => {
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
const g = (t, e) => ([...t].length > e ? [...t].slice(0, e - 1).join("") + "…" : t);
const b = (t) => {
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
const w = (t) =>
t.map((t) => (typeof t === "string" ? `"${t.replace(/"/g, '""')}"` : Number.isNaN(t) ? "" : String(t))).join(",") +
"\r\n";
const x = (t) => t === null || t === undefined || Number.isNaN(t);
const v = (t, e) => `${t.toLocaleString("en")} ${e}${t === 1 ? "" : "s"}`;
const y = (t) => f(t).replace(/·/g, " ");
const $ = (n, s, { title: a, start: o, stop: r }) => {
const i = t("button", {
class: "mn-button mn-primary",
type: "button",
"data-testid": "run",
text: "Run",
title: a,
onclick: o,
});
const l = t("button", {
class: "mn-button",
type: "button",
"data-testid": "stop",
text: "Stop",
title: "Stop after the layer in progress; finished layers stay",
onclick: r,
});
const c = t("div", { class: "mn-progress-fill" }),
d = t("span", { class: "mn-note", "data-testid": "progress", role: "status" });
const u = t(
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
const h = t("div", { class: "mn-error", role: "alert", "data-testid": "error", hidden: true });
const p = () => {
const a = n.get("status"),
o = n.get("progress"),
r = o.total ? Math.round((100 * o.done) / o.total) : 0,
i = n.get("error");
l.disabled = a !== "running";
s().setAttribute("data-status", a);
u.hidden = a !== "running" && a !== "stopping";
c.style.width = `${r}%`;
u.setAttribute("aria-valuenow", r);
e(d, o.text ?? "");
h.hidden = !i.text;
h.replaceChildren(...(i.text ? [t("strong", { text: i.title }), t("pre", { text: i.text })] : []));
};
return {
run: i,
error: h,
draw: p,
element: t("div", { class: "mn-run" }, i, l, t("div", { class: "mn-status" }, u, d)),
};
};
const k = (e, n = 3) =>
new Promise((s, a) => {
const o = new Image();
o.onload = () => {
const a = t("canvas", { width: e.width * n, height: e.height * n });
const r = a.getContext("2d");
r.scale(n, n);
r.drawImage(o, 0, 0);
a.toBlob(s, "image/png");
};
o.onerror = () => a(new Error("the browser could not draw the figure"));
o.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(e.text);
});
const _ = (t) => {
const e = t.reduce((t, e) => t + e.width, 0),
n = Math.max(...t.map((t) => t.height));
let s = 0;
const a = t
.map((t) => {
const e = s;
s += t.width;
return t.text.replace("<svg ", `<svg x="${e}" `);
})
.join("");
return {
text:
`<svg xmlns="http://www.w3.org/2000/svg" width="${e}" height="${n}" viewBox="0 0 ${e} ` +
`${n}"><rect width="100%" height="100%" fill="#ffffff"/>${a}</svg>`,
width: e,
height: n,
};
};
const q = (n, o, { stem: i, figure: l, table: c, example: d }) => {
const u = t("textarea", {
class: "mn-code",
readonly: true,
rows: 12,
spellcheck: "false",
"aria-label": "Python that reproduces this view",
"data-testid": "code",
});
const h = t("input", { type: "text", "data-testid": "path", placeholder: d, spellcheck: "false" });
const p = t("div", { class: "mn-note", "data-testid": "saved", role: "status" }),
m = t("input", { type: "checkbox", "data-testid": "overwrite" });
const f = () => o("save", { path: h.value, overwrite: m.checked });
h.onkeydown = (t) => {
if (t.key === "Enter") f();
};
const g = (e, n, s, a = "") =>
t("button", { type: "button", class: `mn-button ${a}`, "data-testid": e, text: n, onclick: s });
const b = async (t) => {
const n = t.currentTarget;
await a(u.value, u);
e(n, "Copied");
setTimeout(() => e(n, "Copy"), 1500);
};
const w = t(
"div",
{},
t(
"div",
{ class: "mn-buttons" },
g("svg", "Figure (SVG)", () => s(`${i()}.svg`, "image/svg+xml", l().text)),
g("png", "Figure (PNG)", async () => s(`${i()}.png`, "image/png", await k(l()))),
g("csv", "Data (CSV)", () => s(`${i()}.csv`, "text/csv", c())),
),
t(
"div",
{ class: "mn-saverow" },
r("Save the labelled data on the kernel’s machine as", h),
g("save", "Save", f),
t("label", { class: "mn-check" }, m, "replace what is there"),
),
p,
);
const x = t(
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
u,
);
const v = () => {
const t = n.get("saved");
e(p, t.text ?? "");
p.classList.toggle("mn-bad", t.ok === false);
u.value = n.get("code");
};
return { element: x, files: w, draw: v };
};
const M = (t) => {
if (!t) return new Float32Array(0);
const e = t instanceof ArrayBuffer ? new DataView(t) : t;
const n = e.byteOffset % 4 ? e.buffer.slice(e.byteOffset, e.byteOffset + e.byteLength) : e.buffer;
return new Float32Array(n, e.byteOffset % 4 ? 0 : e.byteOffset, Math.floor(e.byteLength / 4));
};
const S = (t) => new Uint8Array(t.buffer ?? t, t.byteOffset ?? 0, t.byteLength);
const N = (t) => {
const e = [];
return {
undo: e,
send: (e, n = {}) => t.send({ type: e, ...n }),
listen: (n, s) => {
for (const a of n) {
t.on(`change:${a}`, s);
e.push(() => t.off(`change:${a}`, s));
}
},
set: (e) => {
for (const [n, s] of Object.entries(e)) t.set(n, s);
t.save_changes();
},
};
};
const C = (e, n, s) => {
const a = {},
r = { range: true, number: true };
const i = (t, n) => {
const s = typeof e.get(t);
return s === "boolean" ? n.checked : s !== "number" ? n.value : n.value === "" ? NaN : Number(n.value);
};
const l = (t, e) => {
if (t.type === "checkbox") t.checked = e;
else t.value = e;
};
const c = (t, o) => {
a[t] = o;
o.setAttribute("data-testid", t);
let c,
d,
u = 0;
const h = () => {
clearTimeout(d);
const n = u - Date.now();
if (n > 0) {
d = setTimeout(h, n);
return;
}
if (i(t, o) !== e.get(t)) {
l(o, e.get(t));
o.dispatchEvent(new Event("pulled"));
}
};
h();
n([t], h);
const p = () => {
clearTimeout(c);
const n = i(t, o);
if (!Number.isNaN(n) && n !== e.get(t)) s({ [t]: n });
};
o.addEventListener("change", p);
if (o.tagName !== "SELECT" && o.type !== "checkbox")
o.addEventListener("input", () => {
clearTimeout(c);
if (r[o.type]) {
u = Date.now() + 700;
p();
} else c = setTimeout(p, 350);
});
o.flush = p;
return o;
};
return {
inputs: a,
bound: c,
shown: () =>
Object.fromEntries(
Object.entries(a)
.map(([t, e]) => [t, i(t, e)])
.filter(([, t]) => !Number.isNaN(t)),
),
flush: () => {
for (const t of Object.values(a)) t.flush();
},
area: (e, n = {}) => c(e, t("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", ...n })),
line: (e, n) => c(e, t("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder: n })),
choose: (e, n) => c(e, t("select", {}, ...n.map(([t, e]) => o(t, e)))),
};
};
const L = (t, e = {}, ...n) => {
const s = document.createElementNS("http://www.w3.org/2000/svg", t);
for (const [t, n] of Object.entries(e)) if (!x(n)) s.setAttribute(t, n);
s.append(...n);
return s;
};
const T = (t, e, n) => {
const s = (e - t) / Math.max(1, n) || 1,
a = 10 ** Math.floor(Math.log10(s)),
o = a * ([1, 2, 5].find((t) => t * a >= s * 0.999) ?? 10),
r = [];
for (let n = Math.ceil(t / o - 1e-9); n * o <= e + 1e-9 * o; n++) r.push(Number((n * o).toPrecision(12)) || 0);
return r;
};
const E = {
text: "var(--mn-text)",
muted: "var(--mn-muted)",
line: "var(--mn-line)",
accent: "var(--mn-accent)",
mark: "var(--mn-mark)",
page: "var(--mn-bg)",
};
const A = { text: "#1c1c1c", muted: "#555555", line: "#d0d0d0", accent: "#0b61b8", mark: "#b35900", page: "#ffffff" };
const j = (t) => Math.round(t).toLocaleString("en");
const O = (t) =>
x(t) ? "–" : t < 1e-300 ? "< 1e-300" : t >= 0.001 ? String(Number(t.toPrecision(2))) : t.toExponential(1);
const R = (t) => {
const e = Math.abs(t);
return (e && (e < 0.001 || e >= 1e6) ? t.toExponential(1) : String(Number(t.toPrecision(3)))).replace("-", "−");
};
const Y = (t) =>
Math.abs(t) < 4
? R(10 ** t)
: `${(10 ** (t - Math.floor(t))).toFixed(1)}e${t < 0 ? "−" : "+"}${Math.abs(Math.floor(t))}`;
const z = (
t,
{
width: e,
height: n,
title: s,
under: a,
label: o,
x: r,
y: i,
xTicks: l,
yTicks: c,
xTitle: d,
yTitle: u,
grid: h = true,
},
) => {
const p = 58,
m = e - 22,
f = 42,
g = n - 40,
b = (e, n) => L("text", { style: `fill:${t.muted}`, "font-size": 10.5, ...e }, n);
const w = (t) => p + ((t - r[0]) / (r[1] - r[0] || 1)) * (m - p),
x = (t) => g - ((t - i[0]) / (i[1] - i[0] || 1)) * (g - f);
const v = L(
"svg",
{
xmlns: "http://www.w3.org/2000/svg",
viewBox: `0 0 ${e} ${n}`,
width: e,
height: n,
role: "img",
"aria-label": o,
"font-family": "system-ui, DejaVu Sans, Arial, sans-serif",
"font-size": 11,
},
b({ x: 2, y: 13, "font-size": 12, "font-weight": 600, style: `fill:${t.text}` }, s),
b({ x: 2, y: 27 }, a),
);
for (const [e, n] of c) {
if (h) v.append(L("line", { x1: p, x2: m, y1: x(e), y2: x(e), style: `stroke:${t.line}`, "stroke-width": 0.7 }));
v.append(b({ x: p - 6, y: x(e) + 3.5, "text-anchor": "end" }, n));
}
for (const [t, e, n] of l) {
v.append(b({ x: w(t), y: g + 14, "text-anchor": "middle" }, e));
if (n) v.append(b({ x: w(t), y: g + 26, "text-anchor": "middle", "font-size": 9.5 }, n));
}
v.append(
L("line", { x1: p, x2: m, y1: g, y2: g, style: `stroke:${t.muted}` }),
b({ x: (p + m) / 2, y: n - 2, "text-anchor": "middle" }, d),
b({ transform: `translate(11 ${(f + g) / 2}) rotate(-90)`, "text-anchor": "middle" }, u),
);
return { root: v, X: w, Y: x, left: p, right: m, top: f, bottom: g, text: b };
};
const F = (t, e, n, s) => {
const a = Math.max(e.stop, ...e.path_e),
o = Math.min(0, ...e.path_e),
r = Math.max(-8, Math.floor(Math.min(o, -0.5) - 0.001)),
i = a + 0.12 * (a - r),
l = Math.max(e.fields.rows - e.left_out, e.n, 4);
const c = Math.max(1, ...[1, 2, 3, 5, 10, 20, 50, 100].filter((t) => (i - r) / t >= 4)),
d = [];
for (let t = Math.ceil(r / c) * c; t <= i; t += c)
d.push([t, t >= 0 && t < 4 ? j(10 ** t) : t < 0 && t > -3 ? String(10 ** t) : `1e${t}`]);
const u = `e = ${Y(e.stop)}${e.fields.rule === "e" ? ": stop" : ` (α = ${e.fields.alpha})`}`;
const h = z(t, {
width: n,
height: s,
title: "e-value by rows",
under: e.e_under,
label:
`e-value against rows, log axis: now ${Y(e.log10_e)} after ${v(e.n, "row")}; ` +
`${e.fields.rule === "e" ? "the rule stops" : "the level is reached"} at ${Y(e.stop)}.`,
x: [0, l],
y: [r, i],
xTicks: T(0, l, Math.max(2, n / 90)).map((t) => [t, j(t)]),
yTicks: d,
xTitle: "rows used",
yTitle: "e-value, log scale",
});
h.root.append(
L("line", {
x1: h.left,
x2: h.right,
y1: h.Y(e.stop),
y2: h.Y(e.stop),
style: `stroke:${t.mark}`,
"stroke-width": 1.6,
"stroke-dasharray": "6 4",
}),
h.text({ x: h.left + 5, y: h.Y(e.stop) - 5, style: `fill:${t.text}` }, u),
);
if (!e.path_n.length) return h.root;
const p = [...e.path_n].map((t, n) => [h.X(t), h.Y(Math.max(r, e.path_e[n]))]),
m = p.at(-1),
f = m[0] > h.right - 80;
h.root.append(
L("path", {
d: `M${p.map((t) => t.map((t) => t.toFixed(1)).join(" ")).join("L")}`,
style: `fill:none;stroke:${t.accent}`,
"stroke-width": 1.8,
"stroke-linejoin": "round",
}),
L("circle", { cx: m[0], cy: m[1], r: 3.5, style: `fill:${t.accent}` }),
h.text(
{
x: m[0] + (f ? -8 : 8),
y: m[1] + (f ? -7 : 4),
"text-anchor": f ? "end" : "start",
"font-weight": 600,
style: `fill:${t.text};stroke:${t.page};stroke-width:3px;paint-order:stroke`,
},
Y(e.log10_e),
),
);
return h.root;
};
const P = (t) =>
!t.against || t.fields.statistic === "none"
? "NLL of the suspect"
: t.fields.statistic === "difference"
? "NLL, suspect − reference"
: "residual NLL";
const X = (t, e, n, s) => {
const a = e.q_n.length,
o = [...e.q_mean, ...e.q_low, ...e.q_high].filter((t) => !x(t)),
r = Math.min(...o),
i = Math.max(...o),
l = 0.08 * (i - r) || 0.01,
c = [r - l, i + l];
const d = (t) => (e.q_at.length ? ` (position ${R(e.q_at[t])})` : ""),
u = [...e.q_n].map((t, e) => e),
h = Math.ceil((42 * a) / n);
const p = z(t, {
width: n,
height: s,
title: "Mean score by position",
under: `${e.unit}; ${R(100 * e.level)} % interval (approximate)`,
label:
`Mean ${P(e)} in ${a} groups of rows, earliest to latest: ` +
`${u.map((t) => R(e.q_mean[t])).join(", ")} ${e.unit}.`,
x: [-0.6, a - 0.4],
y: c,
xTicks: u
.filter((t) => t % h === 0)
.map((t) => [t, e.q_at.length ? R(Number(e.q_at[t].toPrecision(2))) : String(t + 1), j(e.q_n[t])]),
yTicks: T(c[0], c[1], 4).map((t) => [t, R(t)]),
xTitle: e.q_at.length
? `position in training (${e.kind}), earliest to latest`
: "tenth of the rows by position, earliest to latest",
yTitle: `${P(e)}`,
});
p.root.append(p.text({ x: p.left - 6, y: p.bottom + 26, "text-anchor": "end", "font-size": 9.5 }, "rows"));
if (!x(e.mean))
p.root.append(
L(
"line",
{
x1: p.left,
x2: p.right,
y1: p.Y(e.mean),
y2: p.Y(e.mean),
style: `stroke:${t.muted}`,
"stroke-dasharray": "2 3",
},
L("title", {}, `mean of all rows ${R(e.mean)}`),
),
);
for (const n of u) {
const s = p.X(n),
o = L(
"g",
{ style: `stroke:${t.accent};fill:${t.accent}`, "stroke-width": 1.5 },
L(
"title",
{},
`${n + 1} of ${a}${d(n)}: ${R(e.q_mean[n])} [${R(e.q_low[n])}, ${R(e.q_high[n])}] ` +
`${e.unit}, ${v(e.q_n[n], "row")}`,
),
);
if (!x(e.q_low[n]))
o.append(
L("path", {
d:
`M${s} ${p.Y(e.q_low[n])}V${p.Y(e.q_high[n])}M${s - 4} ${p.Y(e.q_low[n])}h8M${s - 4} ` +
`${p.Y(e.q_high[n])}h8`,
}),
);
o.append(L("circle", { cx: s, cy: p.Y(e.q_mean[n]), r: 4 }));
p.root.append(o);
}
return p.root;
};
const D = (t, e, n, s) => {
const a = e.null_edges,
o = Math.min(a[0], e.observed, 0),
r = Math.max(a.at(-1), e.observed, 0),
i = 0.06 * (r - o),
l = Math.max(...e.null_counts) * 1.16;
const c = z(t, {
width: n,
height: s,
title: "Null distribution",
under: `${j(e.draws)} random orders of the same rows`,
label:
`Histogram of the rank correlation under ${j(e.draws)} random orders, from ${R(a[0])} ` +
`to ${R(a.at(-1))}; observed ${R(e.observed)}.`,
x: [o - i, r + i],
y: [0, l],
xTicks: T(o - i, r + i, Math.max(3, n / 80)).map((t) => [t, R(t)]),
yTicks: T(0, l, 4)
.filter((t) => Number.isInteger(t))
.map((t) => [t, j(t)]),
xTitle: "rank correlation rho of score and position",
yTitle: "orders",
});
for (let n = 0; n < e.null_counts.length; n++)
if (e.null_counts[n])
c.root.append(
L("rect", {
x: c.X(a[n]),
y: c.Y(e.null_counts[n]),
width: Math.max(0.6, c.X(a[n + 1]) - c.X(a[n]) - 0.4),
height: c.bottom - c.Y(e.null_counts[n]),
style: `fill:${t.accent};opacity:.55`,
}),
);
const d = c.X(e.observed),
u = d > (c.left + c.right) / 2;
c.root.append(
L("line", { x1: d, x2: d, y1: c.top - 4, y2: c.bottom, style: `stroke:${t.mark}`, "stroke-width": 2.4 }),
c.text(
{
x: d + (u ? -6 : 6),
y: c.top + 6,
"text-anchor": u ? "end" : "start",
"font-weight": 600,
style: `fill:${t.text};stroke:${t.page};stroke-width:3px;paint-order:stroke`,
},
`observed ${R(e.observed)}`,
),
);
return c.root;
};
const I = (t) => {
if (!t?.fields) return null;
const e = { ...t };
for (const n of ["path_n", "path_e", "q_n", "q_mean", "q_low", "q_high", "q_at", "null_counts", "null_edges"])
e[n] = M(t[n]);
return e;
};
const V = (t) => {
let e = "part,position_middle,rows,mean,low,high\r\n";
t.q_n.forEach((n, s) => {
e += w([s + 1, t.q_at[s] ?? NaN, n, t.q_mean[s], t.q_low[s], t.q_high[s]]);
});
return e;
};
const B = [0.05, 0.01, 0.001, 1e-4, 1e-6];
const U = {
guaranteed: "✓ guaranteed if",
approximate: "≈ approximate",
waiting: "… not yet",
void: "✕ not valid here",
exact: "exact",
};
function H({ model: a, el: c }) {
const { undo: d, send: u, listen: h } = N(a),
f = a.get("model_info");
const w = (t) => {
for (const [e, n] of Object.entries(t)) a.set(e, n);
u("move", { fields: t });
St();
};
const { bound: k, shown: M, flush: L, choose: T } = C(a, h, w);
const z = (e, n) => k(e, t("input", { type: "number", step: 1, ...n }));
const P = a.get("transcripts"),
H = new Map(P.map(([t, e]) => [t, e])),
W = [...new Set([...B, a.get("alpha")])].sort((t, e) => e - t);
const G = T(
"suspect",
a.get("suspects").map((t) => [t, g(y(t), 60)]),
),
K = T(
"transcript",
P.map(([t, e]) => [t, `${g(y(t), 50)} (${v(e, "row")})`]),
);
const J = T("reference", [
...a.get("references").map(([t, e]) => [t, `${g(y(t), 40)} (${e})`]),
["", "no reference (little power)"],
]);
const Q = z("rows", { min: 4 }),
Z = T("statistic", a.get("statistics")),
tt = T(
"alpha",
W.map((t) => [t, String(t)]),
);
const et = t("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true }),
nt = t("div", { class: "mn-warning", role: "status", "data-testid": "doubts", hidden: true });
const st = () => {
L();
u("run", { fields: M() });
};
const {
run: at,
error: ot,
draw: rt,
element: it,
} = $(a, () => Dt, { title: "Ask row by row (Ctrl+Enter in a field)", start: st, stop: () => u("stop") });
const lt = it.querySelector("[data-testid=stop]");
lt.title = "Stop after the rows in progress; the e-value stays valid";
it.querySelector(".mn-progress").setAttribute("aria-label", "Rows asked");
const ct = t(
"div",
{},
t(
"div",
{ class: "mn-controls" },
r("Suspect", G),
r("Transcript (the order asked about)", K),
r("Reference", J),
r("Score of a row", Z),
),
t(
"div",
{ class: "mn-controls" },
r("Stop rule", T("rule", a.get("rules"))),
r("Level α", tt),
r("Rows, at most", Q),
r("Seed of the rows’ sequence", z("seed", { min: 0 })),
it,
),
et,
nt,
ot,
);
const dt = () => {
if (![...tt.options].some((t) => Number(t.value) === a.get("alpha"))) {
tt.append(o(a.get("alpha"), String(a.get("alpha"))));
tt.value = a.get("alpha");
}
const n = H.get(a.get("transcript")) ?? 0,
s = a.get("doubts");
Q.max = n;
Z.disabled = !a.get("reference");
e(
Q.closest("label").querySelector(".mn-label"),
`${a.get("rule") === "e" ? "Rows, at most" : "Rows, fixed"} (of ${j(n)})`,
);
const r = s.transcript === a.get("transcript") && s.reference === a.get("reference");
et.hidden = !r || !s.refused;
et.replaceChildren(
...(et.hidden
? []
: [t("strong", { text: "This reference is refused: nothing is run with it" }), t("pre", { text: s.refused })]),
);
const i = ut && !Mt().length ? ut.warnings : [],
l = r ? (s.texts ?? []).filter((t) => !i.includes(t)) : [];
nt.hidden = !l.length;
nt.replaceChildren(
...(l.length
? [t("strong", { text: "Before you run: " }), t("ul", {}, ...l.map((e) => t("li", { text: e })))]
: []),
);
if (!et.hidden && a.get("error").text === s.refused) ot.hidden = true;
};
let ut = null;
const ht = t(
"div",
{ class: "mn-empty", "data-testid": "empty" },
t("strong", { text: "Nothing asked yet" }),
t("p", {
text:
"“Run” asks rows of the transcript one after another, in a random sequence that is blind to their " +
"order, and tests whether the suspect finds later rows easier than the reference does. The e-value " +
"may be watched and the run stopped at any time: no positions are shown while rows come.",
}),
);
const pt = t("span", { class: "mn-note", "data-testid": "what" }),
mt = t("div", { class: "mn-warning", "data-testid": "stale", hidden: true }),
ft = t("div", { class: "mn-verdict", "data-testid": "verdict", role: "status" }),
gt = t("div", { class: "mn-warning", "data-testid": "warnings", hidden: true });
const bt = t("div", { class: "mn-tablebox", "data-testid": "numbers" }),
wt = t("div", { class: "mn-chart", "data-testid": "e-chart" }),
xt = t("div", { class: "mn-chart", "data-testid": "quantiles" }),
vt = t("div", { class: "mn-chart", "data-testid": "null" });
const yt = t("div", { class: "mn-note", "data-testid": "conditions", hidden: true });
const $t = t(
"details",
{ class: "mn-numbers" },
t("summary", { text: "Rows by position as a table" }),
t("div", { class: "mn-tablebox" }),
),
kt = t("p", { class: "mn-note" });
const _t = t(
"div",
{},
ft,
gt,
t("div", { class: "mn-answer" }, t("div", {}, bt, yt), t("div", { class: "mn-charts" }, wt, vt)),
xt,
$t,
kt,
);
const qt = t(
"section",
{ class: "mn-section", "data-testid": "answer", "aria-label": "Answer" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Does it depend on this order?" }), pt),
mt,
ht,
_t,
);
const Mt = () =>
ut
? Object.entries(ut.fields)
.filter(([t, e]) => String(M()[t]) !== String(e))
.map(([t]) => t)
: [];
const St = () => {
const t = Mt(),
n = ["running", "stopping"].includes(a.get("status"));
mt.hidden = !t.length || n;
e(
mt,
mt.hidden
? ""
: `The fields have changed (${t.join(", ")}). What stands here is of ${ut.what}; press Run ` +
`for the new question.`,
);
};
const Nt = (e) => t("span", { class: "mn-worth", "data-worth": e, text: U[e] });
const Ct = (e, n, s, a) =>
t(
"tr",
{ "data-worth": s, "data-row": e },
t("th", { scope: "row", text: e }),
t("td", { class: "mn-value" }, t("span", { text: n })),
t("td", {}, Nt(s), t("span", { class: "mn-why", text: a })),
);
const Lt = (...e) => t("thead", {}, t("tr", {}, ...e.map((e) => t("th", { scope: "col", text: e }))));
const Tt = () => {
ut = I(a.get("found"));
ht.hidden = !!ut;
_t.hidden = !ut;
zt.files.hidden = !ut;
e(pt, ut?.what ?? "");
St();
if (!ut) return;
const n = ut,
s = `${R(100 * n.level)} %`,
o = !x(n.rho);
qt.setAttribute("data-n", n.n);
qt.setAttribute("data-status", n.status);
ft.setAttribute("data-kind", n.verdict.kind);
ft.setAttribute("aria-live", n.verdict.kind === "running" ? "off" : "polite");
ft.replaceChildren(t("strong", { text: n.verdict.lead }), t("span", { text: ` ${n.verdict.text}` }));
gt.hidden = !n.warnings.length;
gt.replaceChildren(
...(n.warnings.length
? [t("strong", { text: "Warnings" }), t("ul", {}, ...n.warnings.map((e) => t("li", { text: e })))]
: []),
);
bt.replaceChildren(
t(
"table",
{ class: "mn-table mn-worths" },
Lt("number", "value", "what it is worth"),
t(
"tbody",
{},
Ct(
"rows used",
j(n.n),
"exact",
`of ${j(n.asked)} asked, ${j(n.fields.rows)} ` +
`${n.fields.rule === "e" ? "at most" : "planned"}` +
`${n.left_out ? `; ${j(n.left_out)} without a finite score left out` : ""}` +
`${n.tokens ? `; ${j(n.tokens)} tokens of the suspect` : ""}`,
),
Ct(
"rho",
o ? `${R(n.rho)} [${R(n.low)}, ${R(n.high)}]` : "–",
"approximate",
o
? `rank correlation of score and position; ${s} interval: ${n.interval}. ` +
`Negative: later rows are remembered better`
: "too few rows yet",
),
Ct("z", o ? b(n.z) : "–", "exact", "mean 0 and variance 1 under random orders; no p-value by itself"),
Ct("e-value", Y(n.log10_e), n.e_kind, `evidence against chance; ${n.e_worth}`),
...(o ? n.ps : []).map((t) =>
Ct(
t.label,
O(t.p),
t.worth,
`${t.note}${t.at_floor && t.worth === "guaranteed" ? "; the smallest it can be" : ""}`,
),
),
),
),
);
yt.hidden = !n.conditions.length;
yt.replaceChildren(
...(n.conditions.length
? [t("strong", { text: "Guaranteed if" }), t("ul", {}, ...n.conditions.map((e) => t("li", { text: e })))]
: []),
);
$t.lastChild.replaceChildren(
t(
"table",
{ class: "mn-table" },
Lt("part", "position", "rows", `mean, ${n.unit}`, s),
t(
"tbody",
{},
...[...n.q_n].map((e, s) =>
t(
"tr",
{},
t("th", { scope: "row", text: String(s + 1) }),
...[
n.q_at.length ? R(n.q_at[s]) : "–",
j(e),
R(n.q_mean[s]),
x(n.q_low[s]) ? "–" : `${R(n.q_low[s])} to ${R(n.q_high[s])}`,
].map((e) => t("td", { class: "mn-value", text: e })),
),
),
),
),
);
e(kt, n.meaning);
At();
dt();
};
const Et = (t, e) => [
F(t, ut, e[0], 244),
...(ut.q_n.length ? [X(t, ut, e[1], 250)] : []),
...(ut.null_counts.length ? [D(t, ut, e[2], 244)] : []),
];
const At = () => {
if (!Dt.isConnected) return;
Dt.setAttribute("data-dark", p(Dt).dark);
if (!ut) return;
const t = _t.clientWidth || 900,
e = t > 800,
n = e ? (t - 24) / 2.15 : t,
s = [n, t, n],
[a, o, r] = Et(
E,
s.map((t) => Math.max(280, Math.round(t))),
);
wt.replaceChildren(a);
xt.replaceChildren(...(o ? [o] : []));
vt.replaceChildren(...(r ? [r] : []));
$t.hidden = !o;
};
const jt = () =>
_(
Et(A, [460, 520, 460]).map((t) => ({
text: new XMLSerializer().serializeToString(t),
width: Number(t.getAttribute("width")),
height: Number(t.getAttribute("height")),
})),
);
const Ot = t("div", { "data-testid": "lines" }),
Rt = t(
"section",
{ class: "mn-section", "aria-label": "Suspects compared" },
t("div", { class: "mn-side-head" }, t("h3", { text: "Suspects compared" })),
Ot,
);
const Yt = () => {
const e = a.get("lines"),
n = a.get("alpha"),
s = ["running", "stopping"].includes(a.get("status"));
if (!e.length) {
Ot.replaceChildren(
t("p", {
class: "mn-note",
text:
"Each question that is asked gets a line here, and Holm’s correction is over all of them: " +
"asking more suspects, or one suspect in several ways, costs evidence.",
}),
);
return;
}
const o = new Set(e.map((t) => t.suspect)).size,
r = a.get("suspects").length,
i = (t) => new Set(e.map((e) => e[t])).size > 1;
const l = (t) =>
`${t.rule === "e" ? "stop by e" : "fixed"}${i("statistic") ? `, ${t.statistic}` : ""}` +
`${i("seed") ? `, seed ${t.seed}` : ""}${t.status === "stopped" ? ", stopped by hand" : ""}`;
Ot.replaceChildren(
t("p", {
class: "mn-note",
"data-testid": "looked",
text:
`${v(e.length, "question")} asked about ${o} of ${v(r, "suspect")}; Holm’s ` +
`correction over ${e.length === 1 ? "it" : `all ${e.length}`}. The p of each line is ` +
`guaranteed if the conditions beside its answer hold, also when it was stopped by hand: 1 / ` +
`largest e, or for a fixed number of rows twice the smaller of that and the permutation p. A ` +
`line whose p is only approximate counts as p = 1. A suspect not asked yet is not corrected for.`,
}),
t(
"div",
{ class: "mn-tablebox" },
t(
"table",
{ class: "mn-table mn-lines" },
Lt(
"suspect",
"reference",
...(i("transcript") ? ["transcript"] : []),
"rows",
"rho",
"e",
"p, guaranteed if",
"Holm",
`at α = ${n}`,
),
t(
"tbody",
{},
...e.map((e) => {
const a = t("button", {
type: "button",
class: "mn-plain",
text: y(e.suspect),
"aria-label": `Show the answer for ${e.suspect}, question ${e.number}`,
disabled: e.p === null || s,
onclick: () => u("show", { number: e.number }),
});
const o =
e.p === null
? [t("td", { class: "mn-wrap", colspan: 6, text: `could not be tested, counts as p = 1: ${e.note}` })]
: [
t(
"td",
{ class: "mn-value" },
t("span", { text: `${j(e.n)} ` }),
t("span", { class: "mn-why", text: l(e) }),
),
t(
"td",
{ class: "mn-value" },
x(e.rho) ? "–" : R(e.rho),
t("span", {
class: "mn-why",
text: x(e.low) || x(e.rho) ? "" : `${R(e.low)} to ${R(e.high)}, approx.`,
}),
),
t("td", { class: "mn-value", text: Y(e.log10_e) }),
t("td", { class: "mn-value", text: O(e.p), title: e.how }),
t("td", { class: "mn-value", text: O(e.holm) }),
t(
"td",
{ class: "mn-wrap" },
t("strong", {
text: e.reason
? `approximate: ${e.reason}`
: e.holm <= n * (1 + 1e-9)
? "depends on this order"
: "not shown",
}),
e.warnings ? t("span", { class: "mn-why", text: v(e.warnings, "warning") }) : null,
),
];
return t(
"tr",
{ "aria-current": ut?.number === e.number ? "true" : null },
t("th", { scope: "row", class: "mn-wrap" }, a),
t("td", { class: "mn-wrap", text: e.reference || "none" }),
...(i("transcript") ? [t("td", { class: "mn-wrap", text: e.transcript })] : []),
...o,
);
}),
),
),
),
);
};
const zt = q(a, (t, e) => u(t, { ...e, fields: M() }), {
stem: () => `provenance_${ut.fields.suspect.replace(/[^\w-]+/g, "_")}`,
figure: jt,
table: () => V(ut),
example: "report.html, report.json, rows.csv",
});
const Ft = (e, n) =>
t("button", {
type: "button",
class: "mn-button",
"data-testid": `document-${e}`,
text: n,
onclick: () => u("document", { kind: e }),
});
zt.files.querySelector("[data-testid=csv]").textContent = "Rows by position (CSV)";
e(
zt.files.querySelector(".mn-saverow .mn-label"),
"Save on the kernel’s machine: report (.html, .json) or rows (.csv)",
);
zt.files
.querySelector(".mn-buttons")
.prepend(Ft("html", "Report (HTML)"), Ft("json", "Result (JSON)"), Ft("csv", "Every row (CSV)"));
let Pt = a.get("document").number ?? 0;
const Xt = () => {
const t = a.get("document");
if (!t.number || t.number === Pt) return;
Pt = t.number;
s(`provenance_${(ut?.fields.suspect ?? "result").replace(/[^\w-]+/g, "_")}.${t.kind}`, t.type, S(t.data));
};
const Dt = t(
"div",
{
class: "mnemoscope mn-prov",
"data-testid": "provenance-bench",
"data-lm-suppress-shortcuts": "true",
role: "region",
"aria-label": "Provenance bench",
onkeydown: (t) => {
if (t.key === "Enter" && (t.ctrlKey || t.metaKey)) {
t.preventDefault();
t.stopPropagation();
at.click();
}
},
},
t(
"header",
{ class: "mn-header" },
t("h2", { text: "Provenance bench" }),
t("span", { class: "mn-chip", "data-testid": "model", text: f.text }),
),
ct,
qt,
Rt,
zt.element,
);
i(c, Dt);
h(["found"], () => {
Tt();
});
h(["lines"], Yt);
h(["doubts"], dt);
h(["suspect", "transcript", "reference", "rows", "statistic", "rule", "alpha", "seed"], () => {
dt();
St();
});
h(["alpha"], Yt);
h(["status", "progress", "error"], () => {
rt();
St();
dt();
});
h(["status", "found"], Yt);
h(["saved", "code"], zt.draw);
h(["document"], Xt);
Dt.addEventListener("input", St);
d.push(m(At), n(Dt, qt, At), l(a.get("static_key")));
Tt();
dt();
rt();
Yt();
zt.draw();
return () => {
for (const t of d) t();
};
}
var W = { render: H };
export { W as default };
