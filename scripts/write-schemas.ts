import { readFileSync, writeFileSync } from "node:fs"
import { z } from "zod"
import { manifestSchema } from "../src/config/manifest-schema.ts"
import { configSchema } from "../src/config/schema.ts"
import { errorReference } from "./error-reference.ts"
import { fieldTable } from "./field-table.ts"

/**
 * Every file that is made from the sources: the JSON Schemas editors use, and the reference parts of the documentation.
 * @returns path in the repository → content.
 */
export function generatedFiles(): Map<string, string> {
  const configuration = readFileSync(new URL("../docs/configuration.md", import.meta.url), "utf8")
  return new Map([
    ["schemas/bext.config.schema.json", jsonSchema(configSchema, "bext.config.toml")],
    ["schemas/plugin.schema.json", jsonSchema(manifestSchema, "plugin.toml")],
    [
      "docs/configuration.md",
      withPart(
        withPart(configuration, "bext.config.toml", fieldTable(configSchema)),
        "plugin.toml",
        fieldTable(manifestSchema),
      ),
    ],
    ["docs/errors.md", errorReference()],
  ])
}

function jsonSchema(schema: z.ZodType, title: string): string {
  const json = z.toJSONSchema(schema, {
    io: "input",
    override: ({ jsonSchema }) => {
      // What only our own reports use, and bounds that say nothing but "a safe integer".
      delete jsonSchema.kind
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
    },
  })
  return `${JSON.stringify({ $schema: json.$schema, title, ...json }, null, 2)}\n`
}

/** Replaces what stands between `<!-- NAME -->` and `<!-- end -->`. */
function withPart(text: string, name: string, part: string): string {
  const start = `<!-- generated: ${name} -->\n`
  const from = text.indexOf(start)
  const to = text.indexOf("<!-- end -->", from)
  if (from === -1 || to === -1) throw new Error(`docs/configuration.md has no part "${name}"`)
  return `${text.slice(0, from)}${start}\n${part}\n${text.slice(to)}`
}

if (import.meta.main) {
  for (const [file, content] of generatedFiles()) {
    writeFileSync(new URL(`../${file}`, import.meta.url), content)
    console.log(`wrote ${file}`)
  }
}
