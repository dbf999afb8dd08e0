// Tokens, numbers and words as a person reads them.

/** A token as a person can read it: spaces, line breaks, tabs and control characters get a visible sign. */
export const visible = (token) => {
  if (token === "") return "∅";
  return token
    .replace(/ /g, "·")
    .replace(/\r?\n/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what has to be seen
      /[\u0000-\u001f\u007f\u00a0\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
      (c) => `‹${c.codePointAt(0).toString(16).padStart(4, "0")}›`,
    );
};

export const shorten = (text, length) =>
  [...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text;

/** Three significant digits with a true minus sign; "no value" for what was not computed. */
export const number = (value) => {
  if (value === null || value === undefined || Number.isNaN(value)) return "no value";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text =
    size === 0
      ? "0"
      : size >= 1e5 || size < 1e-4
        ? size.toExponential(2)
        : size >= 100
          ? size.toFixed(1)
          : size >= 1
            ? size.toFixed(2)
            : size.toFixed(3);
  return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
};

export const percent = (p) => (p >= 0.1 ? (100 * p).toFixed(0) : p >= 0.001 ? (100 * p).toFixed(1) : "<0.1") + "%";

export const csvLine = (values) =>
  values
    .map((v) => (typeof v === "string" ? `"${v.replace(/"/g, '""')}"` : Number.isNaN(v) ? "" : String(v)))
    .join(",") + "\r\n";

export const largest = (array) => {
  let top = 0;
  for (const v of array) {
    const a = Math.abs(v);
    if (a > top && Number.isFinite(a)) top = a;
  }
  return top;
};

export const absent = (v) => v === null || v === undefined || Number.isNaN(v);

export const many = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

export const short = (v) => {
  if (absent(v)) return "–";
  const size = Math.abs(v);
  return (size && (size < 1e-4 || size >= 1e6) ? v.toExponential(1) : String(Number(v.toPrecision(3)))).replace(
    /-/g,
    "−",
  );
};

export const share = (v) => (absent(v) ? "–" : `${short(100 * v)} %`);

export const between = (low, high, write = short) =>
  absent(low) || absent(high) ? "" : `${write(low)} to ${write(high)}`;

/** A name as it was given, without characters that could deceive. */
export const plainly = (text) => visible(text).replace(/·/g, " ");

/** The beginning of a weight hash. */
export const hash = (v) => (v ? v.slice(0, 12) : "…");
