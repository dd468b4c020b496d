import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { checkPlugin } from "../../src/config/check-plugin.ts"
import { ConfigError } from "../../src/config/config-error.ts"
import { parseConfig } from "../../src/config/parse-config.ts"
import { parseManifest } from "../../src/config/parse-manifest.ts"

function problemsOf(entry: string, manifest: string): string[] {
  const config = parseConfig(`[plugins.a]\n${entry}`, { file: "bext.config.toml", env: {} })
  try {
    checkPlugin(config, "a", parseManifest(manifest, { file: "plugin.toml" }))
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.problems.map(
      ({ position, path, what }) => `${position?.line}:${position?.column} ${path.join(".")}: ${what}`,
    )
  }
  return []
}

const HEAD = '[manifest]\nname = "a"\nversion = "1.4.0"\nentry = "x"\n'

describe("a plugin's entry in the configuration against its manifest", () => {
  it("agrees when it says nothing", () => assert.deepEqual(problemsOf("", HEAD), []))

  it("must name the same tier", () => {
    assert.deepEqual(problemsOf('sandbox = "wasm"', HEAD), [
      "2:11 plugins.a.sandbox: the plugin is made for quickjs, not wasm",
    ])
    assert.deepEqual(problemsOf('sandbox = "wasm"', `${HEAD}[sandbox]\ntype = "wasm"`), [])
  })

  it("may not give fuel to a plugin of another tier", () => {
    assert.match(
      problemsOf("fuel.on_request = 3", HEAD).join(),
      /2:6 plugins\.a\.fuel\.on_request: fuel is for the wasm tier/,
    )
    assert.deepEqual(problemsOf("fuel.on_request = 3", `${HEAD}[sandbox]\ntype = "wasm"`), [])
  })

  it("may not skip a plugin that others rely on", () => {
    assert.match(
      problemsOf('on_error = "open"', `${HEAD}security = true`).join(),
      /2:12 plugins\.a\.on_error: others rely on/,
    )
    assert.deepEqual(problemsOf('on_error = "open"', HEAD), [])
  })

  it("must accept the plugin's version", () => {
    assert.deepEqual(problemsOf('version = "^1.2.0"', HEAD), [])
    assert.deepEqual(problemsOf('version = "1.4.0"', HEAD), [])
    assert.deepEqual(problemsOf('version = "^2.0.0"', HEAD), [
      '2:11 plugins.a.version: the plugin\'s version is 1.4.0; this asks for "^2.0.0"',
    ])
    assert.equal(problemsOf('version = "^0.2.0"', HEAD.replace("1.4.0", "0.3.0")).length, 1)
  })

  it("may name an interpreter for nsjail only", () => {
    assert.equal(problemsOf('interpreter = "python3"', HEAD).length, 1)
    assert.deepEqual(problemsOf('interpreter = "python3"', `${HEAD}[sandbox]\ntype = "nsjail"`), [])
  })

  const PROGRAM = `${HEAD}[sandbox]\ntype = "nsjail"`

  const ofPrograms = [
    ["min_isolation", 'min_isolation = "full"'],
    ["jails", "jails = 2"],
    ["read_only_paths", 'read_only_paths = ["/usr/share/zoneinfo"]'],
    ["limits.max_processes", "limits.max_processes = 8"],
    ["limits.max_open_files", "limits.max_open_files = 32"],
    ["limits.max_file_mb", "limits.max_file_mb = 1"],
    ["limits.tmp_mb", "limits.tmp_mb = 1"],
    ["limits.data_quota_mb", "limits.data_quota_mb = 1"],
    ["limits.cpus", "limits.cpus = 0.5"],
  ] as const
  for (const [field, line] of ofPrograms) {
    it(`may set ${field} for programs only`, () => {
      const expected = new RegExp(
        `^2:\\d+ plugins\\.a\\.${field}: \\w+ is for programs \\(nsjail\\); this plugin runs in wasm$`,
      )
      const [problem, ...more] = problemsOf(line, `${HEAD}[sandbox]\ntype = "wasm"`)
      assert.match(problem ?? "", expected)
      assert.deepEqual(more, [])
      assert.deepEqual(problemsOf(line, `${PROGRAM}\ndata_dir = true`), [])
    })
  }

  it("may not give a quota to a program without a folder", () => {
    assert.match(
      problemsOf("limits.data_quota_mb = 1", PROGRAM).join(),
      /^2:\d+ plugins\.a\.limits\.data_quota_mb: the plugin has no folder for data: data_dir is not set in its plugin\.toml$/,
    )
  })

  it("may not send a program to a worker thread", () => {
    assert.match(
      problemsOf('lane = "worker"', PROGRAM).join(),
      /^2:8 plugins\.a\.lane: a program runs in processes of its own/,
    )
    assert.deepEqual(problemsOf('lane = "inline"', PROGRAM), [])
  })

  it("reports all of them at once", () => {
    assert.equal(problemsOf('sandbox = "wasm"\non_error = "open"\nversion = "9"', `${HEAD}security = true`).length, 3)
  })
})
