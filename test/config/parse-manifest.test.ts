import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, it } from "node:test"
import { ConfigError } from "../../src/config/config-error.ts"
import { loadManifest } from "../../src/config/load-manifest.ts"
import type { Manifest } from "../../src/config/manifest-schema.ts"
import { parseManifest } from "../../src/config/parse-manifest.ts"

const HEAD = '[manifest]\nname = "a"\nversion = "1.0.0"\n'

function parse(text: string): Manifest {
  return parseManifest(text, { file: "plugins/a/plugin.toml" })
}

function problemsOf(text: string): string {
  try {
    parse(text)
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    assert.equal(error.code, "E_PLUGIN_MANIFEST_INVALID")
    return error.problems
      .map(({ position, path, what, fixes }) =>
        [`${position?.line}:${position?.column} ${path.join(".")}: ${what}`, ...(fixes ?? [])].join(" | "),
      )
      .join("\n")
  }
  throw new assert.AssertionError({ message: "it loaded" })
}

describe("a manifest that loads", () => {
  it("takes the overview's snippet word for word", () => {
    const { manifest, sandbox, permissions } = parse(
      '[manifest]\nname = "rate-limiter"\nversion = "1.0.0"\ncapabilities = ["middleware"]',
    )
    assert.equal(manifest.name, "rate-limiter")
    assert.deepEqual([...manifest.capabilities], ["middleware"])
    assert.equal(sandbox.type, "quickjs")
    assert.equal(sandbox.max_memory_mb, 64)
    assert.deepEqual([...permissions.allowed_urls], [])
    assert.equal(permissions.max_fetch_per_minute, 30)
  })

  it("takes every documented field", () => {
    const manifest = parse(
      `[manifest]
name = "analytics"
version = "0.3.1"
description = "Counts page views"
capabilities = ["middleware", "transform", "lifecycle", "cache_backend"]
requires_capabilities = ["cache_backend"]
provides_capabilities = ["lifecycle"]

[sandbox]
type = "nsjail"
max_memory_mb = 128
max_time_secs = 30
storage_quota_kb = 10240
interpreter = "python3"

[permissions]
allowed_urls = ["https://api.example.com/*", "https://*.example.org"]
max_fetch_per_minute = 0
`.replace("[sandbox]", 'entry = "main.py"\n[sandbox]'),
    )
    assert.equal(manifest.sandbox.interpreter, "python3")
    assert.equal(manifest.permissions.max_fetch_per_minute, 0)
  })

  it("is frozen and has sizes in bytes", () => {
    const manifest = parse(`${HEAD}capabilities = ["middleware"]\n[sandbox]\nbody = "request"\nmax_body = "64kb"\n`)
    assert.equal(manifest.sandbox.max_body, 65_536)
    assert.ok(Object.isFrozen(manifest.permissions.allowed_urls))
    assert.ok(Object.isFrozen(manifest.manifest))
  })

  it("may suggest one priority, or one for each capability", () => {
    assert.equal(parse(`${HEAD}priority = 650`).manifest.priority, 650)
    assert.deepEqual(
      { ...(parse(`${HEAD}priority = { middleware = 650, transform = 300 }`).manifest.priority as object) },
      {
        middleware: 650,
        transform: 300,
      },
    )
  })
})

describe("a mistake in a manifest", () => {
  it("does not let a large body step around a security plugin", () => {
    const body = '[sandbox]\nbody = "request"\non_large_body = "skip"\n'
    const text = problemsOf(`${HEAD}capabilities = ["middleware"]\nsecurity = true\n${body}`)
    assert.match(text, /sandbox\.on_large_body: a large body would step around/)
    parse(`${HEAD}capabilities = ["middleware"]\n${body}`)
  })

  const cases: [title: string, text: string, expected: RegExp][] = [
    ["nothing at all", "", /manifest: missing; expected a table/],
    ["no name and no version", "[manifest]", /1:2 manifest\.name: missing.*\n1:2 manifest\.version: missing/],
    [
      "a capability in camelCase",
      `${HEAD}capabilities = ["CacheBackend"]`,
      /4:17 manifest\.capabilities\.0: expected "middleware", .* \| did you mean "cache_backend"\?/,
    ],
    ["a mistyped capability", `${HEAD}capabilities = ["midleware"]`, /did you mean "middleware"\?/],
    [
      "a capability of another system",
      `${HEAD}capabilities = ["scheduled"]`,
      /expected "middleware", "transform", "lifecycle" or "cache_backend", found "scheduled"/,
    ],
    ["a name with capitals", '[manifest]\nname = "RateLimiter"\nversion = "1.0.0"', /write ratelimiter/],
    ["a built-in's name", '[manifest]\nname = "auth"\nversion = "1.0.0"', /name of a built-in/],
    [
      "a short version",
      '[manifest]\nname = "a"\nversion = "1.0"',
      /expected a semantic version such as "1\.0\.0", found "1\.0"/,
    ],
    ["a priority of the built-ins", `${HEAD}priority = 100`, /expected at least 600, found 100/],
    [
      "such a priority for middleware alone",
      `${HEAD}priority = { middleware = 1 }`,
      /manifest\.priority\.middleware: expected at least 600/,
    ],
    ["an entry outside the folder", `${HEAD}entry = "../../etc/passwd"`, /expected a path inside the plugin's folder/],
    ["an absolute entry", `${HEAD}entry = "/etc/passwd"`, /inside the plugin's folder/],
    ["an entry with a backslash", `${HEAD}entry = 'src\\index.js'`, /forward slashes/],
    ["an entry with a NUL", `${HEAD}entry = "a\\u0000b"`, /inside the plugin's folder/],
    [
      "no entry for nsjail",
      `${HEAD}[sandbox]\ntype = "nsjail"`,
      /manifest\.entry: missing: the nsjail tier has no default entry/,
    ],
    [
      "a module for JavaScript",
      `${HEAD}entry = "build/geo.wasm"`,
      /4:9 manifest\.entry: a WebAssembly module runs in the wasm tier; .* \| add to \[sandbox\]: type = "wasm"/,
    ],
    [
      "JavaScript for WebAssembly",
      `${HEAD}entry = "index.ts"\n[sandbox]\ntype = "wasm"`,
      /manifest\.entry: JavaScript and TypeScript run in the quickjs tier/,
    ],
    [
      "a program for JavaScript",
      `${HEAD}entry = "main.py"`,
      /4:9 manifest\.entry: a program runs in the nsjail tier; type is "quickjs".* \| add to \[sandbox\]: type = "nsjail"/,
    ],
    ["an interpreter elsewhere", `${HEAD}[sandbox]\ninterpreter = "python3"`, /only the nsjail tier has this/],
    ["a limit of programs elsewhere", `${HEAD}[sandbox]\nmax_processes = 3`, /sandbox\.max_processes: only the nsjail/],
    [
      "a share of processors elsewhere",
      `${HEAD}[sandbox]\ntype = "wasm"\ncpus = 0.5`,
      /sandbox\.cpus: only the nsjail/,
    ],
    [
      "a quota without a folder",
      `${HEAD}entry = "a"\n[sandbox]\ntype = "nsjail"\ndata_quota_mb = 3`,
      /sandbox\.data_quota_mb: there is no folder .* \| add data_dir = true/,
    ],
    ["no processors at all", `${HEAD}entry = "a"\n[sandbox]\ntype = "nsjail"\ncpus = 0`, /sandbox\.cpus: expected/],
    ["a body without middleware", `${HEAD}[sandbox]\nbody = "request"`, /only middleware sees bodies/],
    ["transform settings without transform", `${HEAD}[transform]\nmatches = ["*.ts"]`, /does not name "transform"/],
    ["one limit in two units", `${HEAD}[sandbox]\nmax_time_secs = 1\nmax_time_ms = 1`, /the same limit twice/],
    ["a limit in the wrong table", `${HEAD}max_memory_mb = 3`, /manifest\.max_memory_mb: unknown key/],
    ["a sandbox as text", `sandbox = "wasm"\n${HEAD}`, /1:11 sandbox: expected a table, found "wasm"/],
    [
      "a URL pattern without scheme",
      `${HEAD}[permissions]\nallowed_urls = ["api.example.com/*"]`,
      /write "https:\/\/api\.example\.com\/\*"/,
    ],
    ["another protocol", `${HEAD}[permissions]\nallowed_urls = ["file:///etc/passwd"]`, /the scheme is http or https/],
    ["any protocol", `${HEAD}[permissions]\nallowed_urls = ["*://x.com"]`, /the scheme is http or https/],
    ["a mistyped permission", `${HEAD}[permissions]\nallowed_url = []`, /did you mean allowed_urls\?/],
    ["a header that is not hidden", `${HEAD}[permissions]\nsensitive_headers = ["Cookie"]`, /did you mean "cookie"\?/],
    ["a newer API", `${HEAD}api = 2`, /expected 1, found 2/],
  ]
  for (const [title, text, expected] of cases) {
    it(`is named when it is ${title}`, () => assert.match(problemsOf(text), expected))
  }
})

describe("the manifest's file", () => {
  it("with another name gives a hint", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "bext-manifest-"))
    t.after(() => rmSync(folder, { recursive: true }))
    assert.throws(() => loadManifest(folder), {
      code: "E_PLUGIN_NOT_FOUND",
      message: /there is no file .*plugin\.toml; write one:\n\n\[manifest\]\nname = "bext-manifest-/,
    })
    writeFileSync(join(folder, "bext.plugin.toml"), HEAD)
    assert.throws(() => loadManifest(folder), {
      code: "E_PLUGIN_NOT_FOUND",
      message: /bext\.plugin\.toml.*called plugin\.toml/,
    })
    writeFileSync(join(folder, "plugin.toml"), HEAD)
    assert.equal(loadManifest(folder).manifest.name, "a")
    writeFileSync(join(folder, "plugin.toml"), Buffer.from([0xff, 0xfe, 0x00]))
    assert.throws(() => loadManifest(folder), { code: "E_FILE_UNREADABLE", message: /not UTF-8/ })
  })
})
