// What every view builds its page of: elements, fields, the place on the page.

/** An element; text always goes through textContent, so a token can never become markup. */
export const h = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  // JupyterLab takes arrow keys, Enter and letters from whatever is focused in a notebook, unless that element itself
  // says no.
  if (element.matches("input, select, textarea, button, summary, [tabindex]"))
    element.setAttribute("data-lm-suppress-shortcuts", "true");
  return element;
};

export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

// Draws when the view is on the page and whenever its width changes. A front end may render into an element that it
// attaches only later, and take it out again while it is out of sight: nothing can be measured then, so nothing is
// drawn.
export const onShown = (root, box, draw) => {
  let width = 0;
  const watcher = new ResizeObserver(() => {
    const now = root.isConnected ? box.clientWidth : 0,
      changed = Math.abs(now - width) > 4;
    width = now;
    if (!now) return;
    if (changed) draw();
    root.setAttribute("data-ready", "true");
  });
  watcher.observe(box);
  return () => watcher.disconnect();
};

export const download = (name, type, content) => {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
};

export const copyText = async (text, area) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    area.focus();
    area.select();
    document.execCommand("copy");
  }
};

export const option = (value, label) => h("option", { value, text: label });

export const field = (label, control, note) =>
  h("label", { class: "mn-field" }, h("span", { class: "mn-label", text: label }), control, note ?? null);

/** A part of a view under its heading; `beside` stands right of the heading. */
export const section = ({ label, title, beside = [], ...attributes }, ...parts) =>
  h(
    "section",
    { class: "mn-section", "aria-label": label, ...attributes },
    h("div", { class: "mn-side-head" }, typeof title === "string" ? h("h3", { text: title }) : title, ...beside),
    ...parts,
  );

/** What stands where an answer would be, while there is none. */
export const emptyBox = (title, text, attributes = { "data-testid": "empty" }) =>
  h("div", { class: "mn-empty", ...attributes }, h("strong", { text: title }), h("p", { text }));

/** What went wrong, where the person looks. */
export const errorBox = (title, text, testid) =>
  h(
    "div",
    { class: "mn-error", role: "alert", "data-testid": testid },
    h("strong", { text: title }),
    h("pre", { text }),
  );

/** A slider under its name and what it is set to. */
export const slide = (name, out, ...controls) =>
  h("div", { class: "mn-field mn-slide" }, h("span", { class: "mn-label" }, name, out), ...controls);

let mnCount = 0;

export const uniqueId = (stem) => `mn-${stem}-${++mnCount}-${Math.random().toString(36).slice(2, 7)}`;

/**
 * Put a view on the page. What a person presses may move away before it is let go: leaving a text field sends it to
 * the kernel, and the answer can take a line more. The browser then makes no click of the press; this makes it, where
 * the pointer itself stayed.
 */
export const mount = (el, root) => {
  el.append(root);
  root.addEventListener("pointerdown", (down) => {
    const button = down.button === 0 && down.target.closest("button");
    if (!button || button.disabled) return;
    const up = (e) => {
      if (e.pointerId !== down.pointerId) return;
      document.removeEventListener("pointerup", up, true);
      document.removeEventListener("pointercancel", up, true);
      const stayed = Math.hypot(e.clientX - down.clientX, e.clientY - down.clientY) < 6;
      if (e.type === "pointerup" && stayed && !button.contains(e.target) && button.isConnected) button.click();
    };
    document.addEventListener("pointerup", up, true);
    document.addEventListener("pointercancel", up, true);
  });
};

/** The static copy in the stored notebook is for readers without a kernel; a live view hides it. */
export const hideStatic = (key) => {
  if (!key || !/^[\w-]+$/.test(key)) return () => {};
  const style = h("style", {
    text:
      `.jp-OutputArea-child:has(.mnemoscope-static-${key}), .mnemoscope-static-${key} { display: none ` +
      `!important; }`,
  });
  document.head.append(style);
  return () => style.remove();
};
