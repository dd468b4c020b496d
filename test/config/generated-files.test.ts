import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { describe, it } from "node:test"
import { type Schema, Validator } from "@cfworker/json-schema"
import { parse } from "smol-toml"
import { generatedFiles } from "../../scripts/write-schemas.ts"
import { EXPLANATIONS } from "../../src/cli/explanations.ts"
import { parseConfig } from "../../src/config/parse-config.ts"
import { parseManifest } from "../../src/config/parse-manifest.ts"
import { ERRORS } from "../../src/errors.ts"

const root = join(import.meta.dirname, "../..")
const read = (file: string) => readFileSync(join(root, file), "utf8")

describe("generated files", () => {
  for (const [file, content] of generatedFiles()) {
    it(`${file} is what npm run schemas writes`, () => assert.ok(read(file) === content, "run: npm run schemas"))
  }
})

describe("docs/errors.md", () => {
  it("lists exactly the codes of the error table", () => {
    const listed = [...read("docs/errors.md").matchAll(/^## (E_[A-Z_]+)$/gm)].map(([, code]) => code)
    assert.deepEqual(listed.toSorted(), Object.keys(ERRORS).toSorted())
  })

  it("explains every code and refers to codes that exist", () => {
    assert.deepEqual(
      Object.keys(ERRORS).filter((code) => !Object.hasOwn(EXPLANATIONS, code)),
      [],
    )
    for (const [code, { related, steps, happened }] of Object.entries(EXPLANATIONS)) {
      assert.ok(steps.length > 0 && happened !== "", code)
      assert.deepEqual(
        related.filter((other) => !Object.hasOwn(ERRORS, other) || other === code),
        [],
        code,
      )
    }
  })
})

describe("the JSON Schemas", () => {
  const config = new Validator(JSON.parse(read("schemas/bext.config.schema.json")) as Schema)
  const manifest = new Validator(JSON.parse(read("schemas/plugin.schema.json")) as Schema)

  it("accept the example site and the first-party manifests", () => {
    assert.deepEqual(config.validate(parse(read("examples/site/bext.config.toml"))).errors, [])
    for (const name of ["security-headers", "rate-limiter", "maintenance-mode", "webhook-verify"]) {
      assert.deepEqual(manifest.validate(parse(read(`plugins/${name}/plugin.toml`))).errors, [])
    }
  })

  it("refuse what the doors refuse: unknown keys, wrong types, missing fields", () => {
    for (const text of [
      "[servr]",
      "[plugins.a]\npriority = '6'",
      "[[routes]]\nstatic = 'x'",
      "[plugins.A]",
      "[log]\nlevel = 'x'",
    ]) {
      assert.equal(config.validate(parse(text)).valid, false, text)
    }
    for (const text of [
      "",
      "[manifest]\nname = 'a'",
      "[manifest]\nname = 'a'\nversion = '1.0.0'\ncapabilities = ['x']",
    ]) {
      assert.equal(manifest.validate(parse(text)).valid, false, text)
    }
  })

  it("describe every field", () => {
    const nameless: string[] = []
    const visit = (schema: unknown, path: string) => {
      if (typeof schema !== "object" || schema === null) return
      for (const [key, field] of Object.entries((schema as { properties?: object }).properties ?? {})) {
        if (!("description" in (field as object))) nameless.push(`${path}.${key}`)
      }
      for (const [key, inner] of Object.entries(schema)) visit(inner, `${path}.${key}`)
    }
    visit(JSON.parse(read("schemas/bext.config.schema.json")), "config")
    visit(JSON.parse(read("schemas/plugin.schema.json")), "manifest")
    assert.deepEqual(nameless, [])
  })
})

describe("docs/configuration.md", () => {
  const blocks = [...read("docs/configuration.md").matchAll(/^```toml\n(.*?)^```/gms)].map(([, text]) => text!)

  it("has examples", () => assert.ok(blocks.length > 5))

  for (const [index, text] of blocks.entries()) {
    it(`example ${index + 1} loads`, (t) => {
      const folder = mkdtempSync(join(tmpdir(), "bext-docs-"))
      t.after(() => rmSync(folder, { recursive: true }))
      for (const file of ["public/404.html", "public/502.html", "plugins/geo/x", "plugins/fraud-detector/x"]) {
        mkdirSync(dirname(join(folder, file)), { recursive: true })
        writeFileSync(join(folder, file), "")
      }
      if (text.startsWith("[manifest]")) parseManifest(text, { file: join(folder, "plugin.toml") })
      else parseConfig(text, { file: join(folder, "bext.config.toml"), env: { GEO_KEY: "k" } })
    })
  }
})

describe("examples of configurations on other pages", () => {
  const env = { SESSION_KEY: "k".repeat(32), BEXT_ADMIN_TOKEN: "t".repeat(32), BEXT_METRICS_TOKEN: "m".repeat(32) }

  for (const page of ["docs/operations.md", "docs/queue.md", "docs/websockets.md"]) {
    it(`${page}: all load`, (t) => {
      const folder = mkdtempSync(join(tmpdir(), "bext-docs-"))
      t.after(() => rmSync(folder, { recursive: true }))
      mkdirSync(join(folder, "pages"))
      writeFileSync(join(folder, "pages/502.html"), "")
      const blocks = Array.from(read(page).matchAll(/^```toml\n# (\S+)(\n.*?)^```/gms))
      assert.ok(blocks.length > 1)
      for (const [, file, text] of blocks) {
        if (file!.endsWith("plugin.toml")) parseManifest(text!, { file: join(folder, "plugin.toml") })
        else parseConfig(text!, { file: join(folder, "bext.config.toml"), env })
      }
    })
  }
})
