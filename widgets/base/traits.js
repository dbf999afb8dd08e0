// A view's ties to the traits that the kernel holds.

import { h, option } from "./dom.js";

/** A view on a binary trait as numbers; copies only where the buffer is not aligned. */
export const floats = (data) => {
  if (!data) return new Float32Array(0);
  const view = data instanceof ArrayBuffer ? new DataView(data) : data;
  const bytes =
    view.byteOffset % 4 ? view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) : view.buffer;
  return new Float32Array(bytes, view.byteOffset % 4 ? 0 : view.byteOffset, Math.floor(view.byteLength / 4));
};

export const octets = (data) => new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);

/** A view's ties to its model: commands, listeners that `undo` takes off again, and several traits in one change. */
export const connect = (model) => {
  const undo = [];
  return {
    undo,
    send: (type, content = {}) => model.send({ type, ...content }),
    listen: (names, callback) => {
      for (const name of names) {
        model.on(`change:${name}`, callback);
        undo.push(() => model.off(`change:${name}`, callback));
      }
    },
    set: (values) => {
      for (const [k, v] of Object.entries(values)) model.set(k, v);
      model.save_changes();
    },
  };
};

// Controls tied to the traits of the same names; `push` takes a change to the kernel. A front end holds back changed
// traits while the kernel is busy, but not messages: a command brings along `shown()`, what the person sees.
export const tiedControls = (model, listen, push) => {
  const inputs = {},
    moved = { range: true, number: true };
  const read = (name, c) => {
    const kind = typeof model.get(name);
    return kind === "boolean" ? c.checked : kind !== "number" ? c.value : c.value === "" ? NaN : Number(c.value);
  };
  const write = (c, value) => {
    if (c.type === "checkbox") c.checked = value;
    else c.value = value;
  };
  const bound = (name, control) => {
    inputs[name] = control;
    control.setAttribute("data-testid", name);
    let timer,
      waiting,
      until = 0;
    const pull = () => {
      clearTimeout(waiting);
      // An answer to an earlier move must not take the slider from the hand that still moves it.
      const wait = until - Date.now();
      if (wait > 0) {
        waiting = setTimeout(pull, wait);
        return;
      }
      if (read(name, control) !== model.get(name)) {
        write(control, model.get(name));
        control.dispatchEvent(new Event("pulled"));
      }
    };
    pull();
    listen([name], pull);
    const flush = () => {
      clearTimeout(timer);
      const value = read(name, control);
      if (!Number.isNaN(value) && value !== model.get(name)) push({ [name]: value });
    };
    control.addEventListener("change", flush);
    if (control.tagName !== "SELECT" && control.type !== "checkbox")
      control.addEventListener("input", () => {
        clearTimeout(timer);
        if (moved[control.type]) {
          until = Date.now() + 700;
          flush();
        } else timer = setTimeout(flush, 350);
      });
    control.flush = flush;
    return control;
  };
  return {
    inputs,
    bound,
    shown: () =>
      Object.fromEntries(
        Object.entries(inputs)
          .map(([name, c]) => [name, read(name, c)])
          .filter(([, v]) => !Number.isNaN(v)),
      ),
    flush: () => {
      for (const c of Object.values(inputs)) c.flush();
    },
    area: (name, more = {}) =>
      bound(name, h("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", ...more })),
    line: (name, placeholder) =>
      bound(name, h("input", { type: "text", spellcheck: "false", autocomplete: "off", placeholder })),
    choose: (name, options) => bound(name, h("select", {}, ...options.map(([value, label]) => option(value, label)))),
  };
};
