import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { type TestContext, test } from "node:test"
import { PluginError } from "../../../src/errors.ts"
import { loadGuestModules } from "../../../src/sandbox/quickjs/modules.ts"
import { MAX_MODULE_BYTES, MAX_MODULES, MAX_SPECIFIERS } from "../../../src/sandbox/quickjs/modules-read.ts"

type Files = Readonly<Record<string, string | Uint8Array>>

async function folderOf(t: TestContext, files: Files): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bext-modules-"))
  t.after(() => rm(folder, { recursive: true }))
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), content)
  }
  return folder
}

async function load(t: TestContext, files: Files, entry = Object.keys(files)[0]!) {
  const folder = await folderOf(t, files)
  return loadGuestModules({ name: "sample", folder, entry: join(folder, entry) })
}

function refusal(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof PluginError)
    assert.equal(error.code, "E_PLUGIN_LOAD_FAILED")
    assert.equal(error.plugin, "sample")
    assert.match(error.message, message)
    return true
  }
}

test("the entry and its relative imports are named by their path inside the plugin", async (t) => {
  const modules = await load(t, {
    "src/index.ts": `import { a } from "./lib/a.ts"\nexport const x: number = a\n`,
    "src/lib/a.ts": `export * from '../../top.js'`,
    "top.js": "export const a = 1",
  })
  assert.equal(modules.entry, "src/index.ts")
  assert.equal(modules.resolve("src/index.ts", "./lib/a.ts"), "src/lib/a.ts")
  assert.equal(modules.resolve("src/lib/a.ts", "../../top.js"), "top.js")
  assert.equal(modules.load("top.js"), "export const a = 1")
})

test("stripped TypeScript keeps every line and column", async (t) => {
  const source = `type A = string\nconst é: A = "x"; export function f<T>(a: T): T { return a }\n`
  const modules = await load(t, { "index.ts": source })
  const code = modules.load("index.ts")
  assert.equal(code.length, source.length)
  assert.equal(code.indexOf("return a"), source.indexOf("return a"))
  assert.doesNotMatch(code, /: T|type A/)
})

test("an extension may be left out, an index is found, and .js may stand for .ts", async (t) => {
  const modules = await load(t, {
    "index.js": `import "./a"; import "./folder"; import "./b.js"; import "./data"; import "./c.mjs"; import "./folder/"`,
    "a.ts": "",
    "folder/index.js": "",
    "b.ts": "",
    "c.mts": "",
    "data.json": "1",
  })
  const resolved = (specifier: string) => modules.resolve("index.js", specifier)
  assert.equal(resolved("./a"), "a.ts")
  assert.equal(resolved("./folder"), "folder/index.js")
  assert.equal(resolved("./folder/"), "folder/index.js")
  assert.equal(resolved("./b.js"), "b.ts")
  assert.equal(resolved("./c.mjs"), "c.mts")
  assert.equal(resolved("./data"), "data.json")
})

test("a literal dynamic import is read ahead, a computed one finds what was read, nothing else is ever opened", async (t) => {
  const folder = await folderOf(t, {
    "index.js": 'export const later = () => import("./later.js")',
    "later.js": "export {}",
    "unseen.js": "",
  })
  const modules = await loadGuestModules({ name: "sample", folder, entry: join(folder, "index.js") })
  await rm(join(folder, "later.js"))
  assert.equal(modules.load(modules.resolve("index.js", "./later.js")), "export {}")
  assert.throws(() => modules.resolve("index.js", "./unseen.js"), refusal(/no such file/))
})

test("modules that import each other are read once", async (t) => {
  const modules = await load(t, { "a.js": 'import "./b.js"', "b.js": 'import "./a.js"; import "./b.js"' })
  assert.equal(modules.resolve("b.js", "./a.js"), "a.js")
})

test("a JSON module exports what the file says, even under the key __proto__", async (t) => {
  const modules = await load(t, {
    "index.js": 'import "./d.json"',
    "d.json": '{"__proto__": 1, "a": "\u2028`$\\u007bb}"}',
  })
  const url = `data:text/javascript,${encodeURIComponent(modules.load("d.json"))}`
  const value = ((await import(url)) as { default: unknown }).default
  assert.deepEqual(Object.entries(value as object), [
    ["__proto__", 1],
    ["a", "\u2028`$\u007bb}"],
  ])
})

test("a broken JSON module is an error that names the file, when it is imported", async (t) => {
  const modules = await load(t, { "index.js": 'import "./d.json"', "d.json": "{" })
  assert.throws(() => modules.resolve("index.js", "./d.json"), refusal(/sample: d\.json: .*JSON/))
})

test("a package is refused with a hint and the place of the import", async (t) => {
  const modules = await load(t, { "index.ts": '// first line\nimport { x } from "lodash"' })
  assert.throws(
    () => modules.resolve("index.ts", "lodash"),
    refusal(/index\.ts:2:19: cannot import "lodash": .*bundle the plugin, or write ".\/lodash"/),
  )
})

test("Node's modules, URLs and absolute paths are refused with a hint", async (t) => {
  const modules = await load(t, { "index.js": "" })
  for (const specifier of [
    "node:fs",
    "https://example.com/x.js",
    "file:///etc/passwd",
    "/etc/passwd",
    "data:text/javascript,1",
  ]) {
    assert.throws(() => modules.resolve("index.js", specifier), refusal(/only relative paths inside the plugin/))
  }
})

test("bext/plugin is an empty module, so that a type import may stay in the source", async (t) => {
  const modules = await load(t, {
    "index.ts": 'import { type Plugin } from "bext/plugin"\nexport default {} satisfies Plugin',
  })
  assert.equal(modules.load(modules.resolve("index.ts", "bext/plugin")), "export {}")
})

test("a path out of the folder is refused, however it is spelled", async (t) => {
  const folder = await folderOf(t, {
    "plugin/index.js": `import "../secret.js"; import "./x/../../secret.js"; import "./.././secret"; import ".//../secret.js"`,
    "secret.js": "export default 42",
  })
  const modules = await loadGuestModules({
    name: "sample",
    folder: join(folder, "plugin"),
    entry: join(folder, "plugin/index.js"),
  })
  for (const specifier of [
    "../secret.js",
    "./x/../../secret.js",
    "./.././secret",
    ".//../secret.js",
    "../plugin/index.js",
  ]) {
    assert.throws(() => modules.resolve("index.js", specifier), refusal(/no such file inside the plugin/))
  }
})

test("a symbolic link may lead to a file of the plugin and nowhere else", async (t) => {
  const folder = await folderOf(t, {
    "plugin/index.js": 'import "./inside.js"; import "./outside.js"; import "./up/secret.js"',
    "plugin/real.js": "export {}",
    "secret.js": "export default 42",
  })
  const plugin = join(folder, "plugin")
  await symlink("real.js", join(plugin, "inside.js"))
  await symlink("../secret.js", join(plugin, "outside.js"))
  await symlink("..", join(plugin, "up"))
  await symlink(plugin, join(folder, "alias"))
  const modules = await loadGuestModules({
    name: "sample",
    folder: join(folder, "alias"),
    entry: join(plugin, "index.js"),
  })
  assert.equal(modules.resolve("index.js", "./inside.js"), "real.js")
  assert.throws(() => modules.resolve("index.js", "./outside.js"), refusal(/leads outside the plugin folder/))
  assert.throws(() => modules.resolve("index.js", "./up/secret.js"), refusal(/leads outside the plugin folder/))
})

test("an entry outside the folder, missing or not a file does not load", async (t) => {
  const folder = await folderOf(t, { "plugin/index.js": "", "other.js": "" })
  const plugin = join(folder, "plugin")
  const entry = (path: string) => loadGuestModules({ name: "sample", folder: plugin, entry: path })
  await assert.rejects(entry(join(folder, "other.js")), refusal(/leads outside/))
  await assert.rejects(entry(join(plugin, "missing.js")), refusal(/does not exist/))
  await assert.rejects(entry(plugin), refusal(/does not exist/))
  const gone = join(folder, "gone")
  await assert.rejects(loadGuestModules({ name: "sample", folder: gone, entry: gone }), refusal(/cannot be read/))
})

test("a FIFO in the folder does not block the load", async (t) => {
  const folder = await folderOf(t, { "index.js": 'import "./pipe.js"' })
  execFileSync("mkfifo", [join(folder, "pipe.js")])
  const modules = await loadGuestModules({ name: "sample", folder, entry: join(folder, "index.js") })
  assert.throws(() => modules.resolve("index.js", "./pipe.js"), refusal(/no such file/))
})

test("TypeScript that would need compiling is an error with position and hint", async (t) => {
  await assert.rejects(
    load(t, { "src/index.ts": "const a: number = 1\n  enum Color { Red }\n" }),
    refusal(/sample: src\/index\.ts:2:3: TypeScript enum is not supported.*as const/),
  )
  await assert.rejects(
    load(t, { "index.ts": "class A {\n  constructor(private x: number) {}\n}" }),
    refusal(/index\.ts:2:23: TypeScript parameter property.*write it in JavaScript/),
  )
  await assert.rejects(load(t, { "index.ts": "let a: = 1" }), refusal(/index\.ts:1:8: Unexpected token/))
  await assert.rejects(load(t, { "index.ts": "\t\tif (a {\n}" }), refusal(/index\.ts:1:9: Expected/))
  await assert.rejects(load(t, { "index.ts": "let a = 1\nlet b = (" }), refusal(/index\.ts:2:10: Expression expected/))
})

test("a source that breaks the TypeScript parser fails alone: the next plugin still loads", async (t) => {
  await assert.rejects(load(t, { "index.ts": "(".repeat(20_000) }), refusal(/nests too deeply/))
  const modules = await load(t, { "index.ts": "export const a: number = 1" })
  assert.match(modules.load("index.ts"), /export const a {9}= 1/)
})

test("a file that is only mentioned and cannot be used does no harm", async (t) => {
  const modules = await load(t, {
    "index.js": 'export const help = "see ./README.md or ./broken.ts"; const a = "./README.md", b = "./broken.ts"',
    "README.md": "# hello",
    "broken.ts": "enum A {}",
  })
  assert.equal(modules.entry, "index.js")
  assert.throws(() => modules.resolve("index.js", "./README.md"), refusal(/README\.md: not a module/))
  assert.throws(() => modules.resolve("index.js", "./broken.ts"), refusal(/broken\.ts:1:1: TypeScript enum/))
})

test("source that is not UTF-8 or holds a NUL is refused; a byte order mark is not part of it", async (t) => {
  await assert.rejects(load(t, { "index.js": new Uint8Array([0x2f, 0x2f, 0xff]) }), refusal(/index\.js: not UTF-8/))
  await assert.rejects(load(t, { "index.js": "let a = 1\0" }), refusal(/index\.js: contains a NUL/))
  const modules = await load(t, { "index.js": "\ufefflet a" })
  assert.equal(modules.load("index.js"), "let a")
})

test("files over the size and count limits are refused", async (t) => {
  await assert.rejects(load(t, { "index.js": " ".repeat(MAX_MODULE_BYTES + 1) }), refusal(/index\.js: larger than/))
  const files: Record<string, string> = { "index.js": "" }
  for (let i = 0; i < MAX_MODULES; i++) {
    files["index.js"] += `import "./m${i}.js"\n`
    files[`m${i}.js`] = ""
  }
  const modules = await load(t, files)
  const refused = Object.keys(files).filter((name) => {
    try {
      modules.load(modules.resolve("index.js", `./${name}`))
      return false
    } catch (error) {
      return refusal(/more than 256 modules; bundle the plugin/)(error)
    }
  })
  assert.equal(refused.length, 1)
})

test("a plugin full of strings that look like imports is refused before the disk is searched for all of them", async (t) => {
  const paths = Array.from({ length: MAX_SPECIFIERS + 1 }, (_, i) => `"./x${i}"`)
  await assert.rejects(load(t, { "index.js": `[${paths}]` }), refusal(/more than 2000 strings that look like imports/))
})

const mapped = {
  version: 3,
  sources: ["../src/a.ts", "../src/b.ts"],
  names: [],
  // 1:0 → a.ts 1:0, 1:10 → a.ts 5:2; 2:0 → b.ts 1:0
  mappings: "AAAA,UAIE;ACJF",
}

function withInlineMap(code: string, map: unknown): string {
  const encoded = Buffer.from(typeof map === "string" ? map : JSON.stringify(map)).toString("base64")
  return `${code}\n//# sourceMappingURL=data:application/json;base64,${encoded}\n`
}

test("stack traces of a bundled plugin read as its sources, by an inline or an adjacent map", async (t) => {
  const stack =
    "    at onRequest (dist/index.js:1:12)\n    at dist/index.js:2:3\n    at sort (native)\n    at x (other.js:1:1)\n"
  const expected =
    "    at onRequest (src/a.ts:5:3)\n    at src/b.ts:1:1\n    at sort (native)\n    at x (other.js:1:1)\n"
  const inline = await load(t, { "dist/index.js": withInlineMap("let aaaaaaaaaaaa\nlet b", mapped) })
  assert.equal(inline.mapStack(stack), expected)
  assert.equal(inline.load("dist/index.js"), "let aaaaaaaaaaaa\nlet b\n")
  const adjacent = await load(t, {
    "dist/index.js": "let aaaaaaaaaaaa\nlet b\n//# sourceMappingURL=index.js.map",
    "dist/index.js.map": JSON.stringify(mapped),
  })
  assert.equal(adjacent.mapStack(stack), expected)
})

test("a source map that is wrong, hostile or elsewhere leaves the stack as it was", async (t) => {
  const stack = "Error: x\n    at f (index.js:1:1)"
  const maps: unknown[] = [
    "not json",
    null,
    [],
    { version: 2, sources: [], mappings: "" },
    { version: 3, sources: "a", mappings: "AAAA" },
    { version: 3, sources: [], mappings: "AAAA" },
    { version: 3, sources: [{}], mappings: "AAAA" },
    { version: 3, sources: ["a"], mappings: "\u0000;é" },
    { version: 3, sources: ["a"], mappings: "A".repeat(300_000) },
    { version: 3, sources: ["a"], mappings: { length: 1 } },
    { version: 3, sources: ["a"], sections: [{ offset: {}, map: {} }] },
    `${'{"a":'.repeat(100_000)}`,
  ]
  for (const map of maps) {
    const modules = await load(t, { "index.js": withInlineMap("let a", map) })
    assert.equal(modules.mapStack(stack), stack)
  }
  const folder = await folderOf(t, { "plugin/x.js": "", "outside.map": JSON.stringify(mapped) })
  await symlink("../outside.map", join(folder, "plugin/link.map"))
  for (const url of [
    "../outside.map",
    "link.map",
    `${folder}/outside.map`,
    `file://${folder}/outside.map`,
    "..",
    "%2e%2e/outside.map",
  ]) {
    await writeFile(join(folder, "plugin/index.js"), `let a\n//# sourceMappingURL=${url}`)
    const plugin = join(folder, "plugin")
    const modules = await loadGuestModules({ name: "sample", folder: plugin, entry: join(plugin, "index.js") })
    assert.equal(modules.mapStack(stack), stack)
  }
})

test("names that a source map brings in cannot break a log line", async (t) => {
  const map = { version: 3, sources: [`a\n\u001b[31m(${"b".repeat(1000)}`], names: [], mappings: "AAAA" }
  const modules = await load(t, { "index.js": withInlineMap("let a", map) })
  const line = modules.mapStack("    at f (index.js:1:1)")
  assert.match(line, /^ {4}at f \(a___31m_?b+:1:1\)$|^ {4}at f \(a__\[31m_b+:1:1\)$/)
  assert.ok(line.length < 250)
})

test("an endless stack is cut before it is read", async (t) => {
  const modules = await load(t, { "index.js": "" })
  assert.ok(modules.mapStack(`${":1".repeat(1_000_000)}\n`).length <= 16 * 1024)
})

test("a word is found anywhere in the plugin, but only whole", async (t) => {
  const modules = await load(t, { "index.js": 'import "./a.js"; x.URLSearchParams', "a.js": "// Headers\nmy$atob" })
  const words = ["URLSearchParams", "Headers", "URL", "atob", "$atob", "my$atob"]
  assert.deepEqual(
    words.filter((word) => modules.mentions(word)),
    ["URLSearchParams", "Headers", "my$atob"],
  )
})
