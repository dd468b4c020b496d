import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { addTables } from "../../src/config/edit-toml.ts"
import { readCatalogue } from "../../src/registry/catalogue.ts"
import { pluginTables } from "../../src/registry/plugin-tables.ts"
import { createProject } from "../support/serve.ts"

describe("pluginTables", () => {
  it("writes every kind of default, shows what has none, and leaves what only the operator knows to fill in", () => {
    using project = createProject({
      "some/plugin.toml":
        '[manifest]\nname = "some"\nversion = "1.0.0"\ncapabilities = ["middleware"]\nconfig_schema = "s.json"\n[permissions]\nidentity = true\n',
      "some/s.json": JSON.stringify({
        type: "object",
        required: ["key", "list"],
        properties: {
          key: { type: "string", description: "What nobody else knows." },
          list: { type: "array", default: [{ a: 1, none: null }] },
          ratio: { default: 0.5 },
          nothing: { default: null },
          count: { $ref: "#/$defs/count" },
          rules: { type: "array" },
        },
        $defs: { count: { default: 3 } },
      }),
    })
    const plugin = readCatalogue(project.folder).get("some")!
    const { tables, toFillIn } = pluginTables(plugin, { identity: true })
    assert.deepEqual(toFillIn, ["key"])
    assert.equal(
      addTables("", tables),
      `[plugins.some]
sandbox = "quickjs"

[plugins.some.config]
# What nobody else knows.
# Fill this in: the plugin does not load without it.
# key = ""
list = [{ a = 1 }]
ratio = 0.5
# nothing = ""
count = 3
# rules = []

[plugins.some.grant]
identity = true
`,
    )
  })
})
