// Colours that follow the page's theme.

import { h } from "./dom.js";

export const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

export const css = ([r, g, b]) => `rgb(${Math.round(r)},${Math.round(g)},${Math.round(b)})`;

export const luminance = ([r, g, b]) => (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;

/** Black or white text, whichever stands out more from the colour (contrast ratio of WCAG 2). */
export const inkOn = (colour) => {
  const [r, g, b] = colour.map((c) => (c <= 10.3 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#ffffff" : "#000000";
};

// Blue against orange is told apart in every common form of colour blindness; the neutral middle follows the page's
// background.
export const ramp = (stops) => {
  const colours = stops.map(rgb),
    last = colours.length - 1;
  return (t) => {
    const x = Math.min(1, Math.max(0, t)) * last,
      i = Math.min(last - 1, Math.floor(x)),
      f = x - i;
    return colours[i].map((c, k) => c + f * (colours[i + 1][k] - c));
  };
};

export const RAMPS = {
  light: {
    diverging: ramp(["#0a3a75", "#2f7fc1", "#a6cdec", "#f9f9f7", "#fbc98f", "#dd7f1d", "#853703"]),
    single: ramp(["#f9f9f7", "#b9d8ee", "#5a9fd4", "#1f62a6", "#08264f"]),
    missing: [214, 214, 214],
    ink: "#1c1c1c",
  },
  dark: {
    diverging: ramp(["#a9d6ff", "#4a9be0", "#22507d", "#202328", "#7a4515", "#dd8430", "#ffd0a0"]),
    single: ramp(["#202328", "#1d4a73", "#2f7fc1", "#7cbcf0", "#e6f4ff"]),
    missing: [78, 82, 88],
    ink: "#f2f2f2",
  },
};

/** Reads the page's theme from the colours that the element really has, so it works in every front end. */
export const themeOf = (element) => {
  const probe = getComputedStyle(element.closest(".mnemoscope") ?? element);
  const value = (name, otherwise) => probe.getPropertyValue(name).trim() || otherwise;
  const canvas = h("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = "#ffffff";
  canvas.fillStyle = probe.backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  const page = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3),
    dark = luminance(page) < 0.4;
  const ramps = dark ? RAMPS.dark : RAMPS.light;
  return {
    dark,
    ...ramps,
    page,
    text: probe.color,
    muted: value("--mn-muted", "#666"),
    accent: value("--mn-accent", "#0b6bcb"),
    background: probe.backgroundColor,
    font: value("--mn-font", "system-ui, sans-serif"),
    mono: value("--mn-mono", "monospace"),
  };
};

/** Calls back when JupyterLab or the system changes its theme; returns what undoes it. */
export const onTheme = (callback) => {
  const observer = new MutationObserver(() => requestAnimationFrame(callback));
  for (const node of [document.documentElement, document.body])
    observer.observe(node, {
      attributes: true,
      attributeFilter: ["class", "style", "data-jp-theme-name", "data-jp-theme-light", "data-vscode-theme-kind"],
    });
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", callback);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", callback);
  };
};
