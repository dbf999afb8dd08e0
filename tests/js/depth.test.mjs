// What the explorer says of both depths, and that it says it of the run that is shown alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ofRun } from "../../widgets/patch_explorer/depth.js";

test("a depth is shown with its own run alone", () => {
  assert.equal(ofRun({}, 1), false);
  assert.equal(ofRun({ run: 1, status: "ready" }, 1), true);
  assert.equal(ofRun({ run: 1, status: "ready" }, 2), false);
  assert.equal(ofRun({ run: 1, status: "running" }, undefined), false);
});
