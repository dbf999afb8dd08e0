// Builds what the views ship: from each room's view.js and view.css one module and one style sheet in widgets/static/.
//
//     npm ci --ignore-scripts && npm run build
//
// What is built is committed, so that a user needs no node. Its first line holds the hash of what it was built from;
// tests/widgets/test_static.py compares that with the sources. Another folder may be named, to build beside.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { tokenizer } from "acorn";
import { rollup } from "rollup";
import { minify } from "terser";

const ROOMS = dirname(fileURLToPath(import.meta.url));
const OUT = process.argv[2] ?? join(ROOMS, "static");
const named = (file) => relative(ROOMS, file).split(sep).join("/");

/** SHA-256 over the names and texts of the files, in the order of their names. */
const hashOf = (files) => {
  const hash = createHash("sha256");
  for (const file of [...files].sort())
    hash
      .update(`${file}\n`)
      .update(readFileSync(join(ROOMS, file)))
      .update("\n");
  return hash.digest("hex");
};

const LINE = 118;
/** Tokens after which a line may end without another meaning. */
const ENDS = new Set(", ; { ( [ && || ?? ? : => +/- . = _= ==/!=/===/!== </>/<=/>=".split(" "));

/** Code, or a style sheet, in lines that are as long as may be; `places` are the positions where a line may end. */
const inLines = (code, places) => {
  const lines = [];
  let from = 0;
  let end = 0;
  for (const place of [...places, code.length]) {
    if (place - from > LINE && end > from) {
      lines.push(code.slice(from, end));
      from = end;
    }
    end = place;
  }
  lines.push(code.slice(from));
  return lines.map((line) => line.trim()).join("\n");
};

/** One ES module of view.js and what it imports. Texts stay in the pieces in which they are written. */
const scripts = async (room) => {
  const bundle = await rollup({
    input: join(ROOMS, room, "view.js"),
    onLog: (level, log) => {
      if (level !== "info") throw new Error(`${room}: ${log.message}`);
    },
  });
  const { output } = await bundle.generate({ format: "es" });
  const { code } = await minify(output[0].code, {
    module: true,
    compress: false,
    format: { comments: false },
  });
  const places = [...tokenizer(code, { ecmaVersion: "latest", sourceType: "module" })]
    .filter((token) => ENDS.has(token.type.label))
    .map((token) => token.end);
  return [output[0].moduleIds.map(named), inLines(code, places)];
};

/** view.css behind the sheets that it imports, without comments and indentation. */
const styles = (room, name = `${room}/view.css`) => {
  let text = readFileSync(join(ROOMS, name), "utf8");
  const files = [name];
  let before = "";
  for (const [line, sheet] of text.matchAll(/^@import "(.+)";\n/gm)) {
    const [more, code] = styles(room, named(join(ROOMS, dirname(name), sheet)));
    files.push(...more);
    before += code;
    text = text.replace(line, "");
  }
  return [files, before + text.replace(/\/\*[\s\S]*?\*\//g, "")];
};

/** A sheet's lines joined where there is room. */
const packed = (sheet) => {
  const code = sheet.trim().replace(/\s*\n\s*/g, " ");
  return inLines(
    code,
    [...code.matchAll(/[;{},] /g)].map((at) => at.index + 2),
  );
};

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
const rooms = readdirSync(ROOMS, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && readdirSync(join(ROOMS, entry.name)).includes("view.js"))
  .map((entry) => entry.name)
  .sort();
for (const room of rooms)
  for (const [kind, make] of Object.entries({ js: scripts, css: styles })) {
    const [files, made] = await make(room);
    const code = kind === "css" ? packed(made) : made;
    const about = `Built by npm run build from ${files.length} files, sha256 ${hashOf(files)}`;
    const text = `${kind === "js" ? `// ${about}` : `/* ${about} */`}\n${code.trimEnd()}\n`;
    writeFileSync(join(OUT, `${room}.${kind}`), text);
    console.log(`${room}.${kind}: ${Buffer.byteLength(text)} bytes`);
  }
