import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

test("what ships is what is built from the sources", () => {
  const folder = mkdtempSync(join(tmpdir(), "views-"));
  try {
    const built = spawnSync(process.execPath, [join(ROOT, "widgets", "build.mjs"), folder], { encoding: "utf8" });
    assert.equal(built.status, 0, built.stderr);
    const shipped = join(ROOT, "widgets", "static");
    assert.deepEqual(readdirSync(folder).sort(), readdirSync(shipped).sort());
    for (const name of readdirSync(folder))
      assert.equal(
        readFileSync(join(folder, name), "utf8"),
        readFileSync(join(shipped, name), "utf8"),
        `widgets/static/${name} is stale: npm run build`,
      );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
