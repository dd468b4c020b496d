import { after } from "node:test"
import { CARGO, missing, WASM_LD, WASM_RUSTC } from "../support/programs.ts"
import { exampleBehaviour } from "./example-behaviour.ts"
import { RustBuilder } from "./support-rust.ts"

const builder = new RustBuilder()
after(() => builder[Symbol.dispose]())

exampleBehaviour({
  language: "rust",
  skip: missing(WASM_RUSTC, CARGO, WASM_LD),
  build: (folder, example) => builder.build(folder, example),
})
