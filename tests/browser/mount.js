// Mounts a view on a page with a model that tells Python of every change: what a widget manager does in a notebook.
async ({ esm, css, state }) => {
  const decode = (v) => {
    if (Array.isArray(v)) return v.map(decode);
    if (!v || typeof v !== "object") return v;
    if ("__bytes" in v) return new DataView(Uint8Array.from(atob(v.__bytes), (c) => c.charCodeAt(0)).buffer);
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, decode(x)]));
  };
  const values = decode(state),
    listeners = {},
    dirty = {};
  const fire = (name) => (listeners[`change:${name}`] ?? []).slice().forEach((f) => f());
  window.model = {
    get: (name) => {
      if (!(name in values)) throw new Error(`no trait ${name}`);
      return values[name];
    },
    set: (name, value) => {
      if (JSON.stringify(values[name]) === JSON.stringify(value)) return;
      values[name] = dirty[name] = value;
      fire(name);
    },
    on: (name, f) => {
      (listeners[name] ??= []).push(f);
    },
    off: (name, f) => {
      listeners[name] = (listeners[name] ?? []).filter((g) => g !== f);
    },
    save_changes: () => {
      const changes = { ...dirty };
      for (const k of Object.keys(dirty)) delete dirty[k];
      if (Object.keys(changes).length) window.toPython("state", changes);
    },
    send: (content) => window.toPython("message", content),
    listeners: () => Object.values(listeners).flat().length,
  };
  window.fromPython = (changes) => {
    for (const [k, v] of Object.entries(decode(changes))) {
      values[k] = v;
      fire(k);
    }
  };
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  const module = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
  window.cleanup = await module.default.render({ model: window.model, el: document.getElementById("root") });
}
