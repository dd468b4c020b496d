import assert from "node:assert/strict"
import { after, it } from "node:test"
import { CARGO, missing, WASM_LD, WASM_RUSTC } from "../support/programs.ts"
import { createProject } from "../support/serve.ts"
import { exampleBehaviour } from "./example-behaviour.ts"
import { RustBuilder } from "./support-rust.ts"
import { sdkSurface } from "./support-surface.ts"

const builder = new RustBuilder()
after(() => builder[Symbol.dispose]())

const skip = missing(WASM_RUSTC, CARGO, WASM_LD)

exampleBehaviour({ language: "rust", skip, build: (folder, example) => builder.build(folder, example) })

sdkSurface({
  title: "SDK for Rust",
  language: "rust",
  skip,
  lastWords: [/^error panicked at .gave up at \/panic., src\/lib\.rs:\d+:\d+$/],
  build: (folder) => builder.build(folder, "try-everything"),
})

it("the crate's own tests pass, natively, and its documentation compiles", { skip }, () => {
  using project = createProject({})
  builder.copyCrate(project.folder)
  const output = builder.cargo(project.folder, "test", "--quiet")
  const passed = [...output.matchAll(/test result: ok\. (\d+) passed/g)].map(([, count]) => Number(count))
  assert.ok(passed.length >= 2 && passed.every((count) => count > 0), output)
})
