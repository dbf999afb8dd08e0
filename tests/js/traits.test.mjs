import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, floats, octets } from "../../widgets/base/traits.js";

/** What anywidget hands a view, as far as the helpers ask for it. */
const fakeModel = (values) => {
  const listeners = {};
  return {
    sent: [],
    saved: 0,
    listeners,
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      for (const call of listeners[`change:${name}`] ?? []) call();
    },
    on: (name, call) => {
      listeners[name] = [...(listeners[name] ?? []), call];
    },
    off: (name, call) => {
      listeners[name] = (listeners[name] ?? []).filter((other) => other !== call);
    },
    save_changes() {
      this.saved += 1;
    },
    send(message) {
      this.sent.push(message);
    },
  };
};

test("a buffer is read where it lies, and copied where it is not aligned", () => {
  const bytes = new ArrayBuffer(13);
  new DataView(bytes).setFloat32(1, 2.5, true);
  new DataView(bytes).setFloat32(8, -1, true);
  assert.deepEqual([...floats(new DataView(bytes, 1, 4))], [2.5]);
  const aligned = floats(new DataView(bytes, 8, 4));
  assert.deepEqual([...aligned], [-1]);
  assert.equal(aligned.buffer, bytes);
  assert.equal(floats(null).length, 0);
  assert.equal(floats(bytes).length, 3);
});

test("octets are those of the view, not of the buffer behind it", () => {
  const bytes = new Uint8Array([1, 2, 3, 4]).buffer;
  assert.deepEqual([...octets(new DataView(bytes, 1, 2))], [2, 3]);
});

test("a view's listeners are taken off again, and a change is saved once", () => {
  const model = fakeModel({ a: 1 });
  const { undo, send, listen, set } = connect(model);
  let calls = 0;
  listen(["a", "b"], () => {
    calls += 1;
  });
  set({ a: 2, b: 3 });
  assert.deepEqual([calls, model.saved, model.get("b")], [2, 1, 3]);
  for (const take of undo) take();
  set({ a: 4 });
  assert.equal(calls, 2);
  send("run", { fields: { a: 4 } });
  assert.deepEqual(model.sent, [{ type: "run", fields: { a: 4 } }]);
});
