import assert from "node:assert/strict"
import { realpathSync } from "node:fs"
import { join } from "node:path"
import { it } from "node:test"
import { watchedPaths } from "../../src/cli/watched-paths.ts"
import { loadConfig } from "../../src/config/load-config.ts"
import { createProject } from "../support/serve.ts"
import { wasmPlugin, watPlugin } from "../support/wat-plugin.ts"

it("of a module, what it is built from and what its compiler writes beside it are not watched", () => {
  using project = createProject({
    "bext.config.toml": '[plugins.hi]\n[plugins.alone]\npath = "alone.wasm"\n[plugins.js]\n',
    ...wasmPlugin("hi", watPlugin(), '"middleware"', 'config_schema = "schema.json"'),
    "plugins/hi/schema.json": "{}",
    "plugins/hi/src/lib.rs": "",
    "plugins/hi/target/debug/deps/hi.d": "",
    "alone.wasm": watPlugin(),
    "plugins/js/plugin.toml": '[manifest]\nname = "js"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n',
    "plugins/js/index.js": "",
  })
  const file = project.path("bext.config.toml")
  const { paths } = watchedPaths(file, loadConfig(file))
  const real = (path: string) => join(realpathSync(project.folder), path)
  const plugins = [
    "plugins/hi/plugin.wasm",
    "plugins/hi/plugin.toml",
    "plugins/hi/schema.json",
    "alone.wasm",
    "plugins/js",
  ]
  assert.deepEqual([...paths].sort(), [file, ...plugins.map(real)].sort())
})
