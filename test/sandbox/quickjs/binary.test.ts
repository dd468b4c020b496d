import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { EXPORT_NAMES } from "../../../src/sandbox/quickjs/binary.ts"

/** What the host calls each function → what the engine's C code calls it, where they differ in more than the prefix. */
const C_NAMES: Partial<Record<keyof typeof EXPORT_NAMES, string>> = {
  malloc: "malloc",
  free: "free",
  setMemoryLimit: "QTS_RuntimeSetMemoryLimit",
  setMaxStackSize: "QTS_RuntimeSetMaxStackSize",
  enableInterruptHandler: "QTS_RuntimeEnableInterruptHandler",
  enableModuleLoader: "QTS_RuntimeEnableModuleLoader",
  freeValue: "QTS_FreeValuePointer",
  dupValue: "QTS_DupValuePointer",
}

describe("the pinned QuickJS binary", () => {
  const loader = readFileSync(
    fileURLToPath(import.meta.resolve("@jitl/quickjs-wasmfile-release-sync")).replace(
      /index\.m?js$/,
      "emscripten-module.mjs",
    ),
    "utf8",
  )

  for (const [name, minified] of Object.entries(EXPORT_NAMES)) {
    if (name === "constructors") continue
    it(`exports ${name} under the name the package's own loader uses`, () => {
      const cName = C_NAMES[name as keyof typeof EXPORT_NAMES] ?? `QTS_${name[0]!.toUpperCase()}${name.slice(1)}`
      const found = new RegExp(`\\._${cName}=b\\.([\\w$]+)[;,]`).exec(loader)
      assert.equal(found?.[1], minified)
    })
  }

  it("runs its constructors under the name the package's own loader uses", () => {
    assert.match(loader, new RegExp(`ba=!0;Z\\.${EXPORT_NAMES.constructors}\\(\\)`))
  })
})
