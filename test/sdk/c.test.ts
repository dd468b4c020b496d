import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { copyFileSync, mkdirSync, renameSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { it } from "node:test"
import { fileURLToPath } from "node:url"
import { createWasmTier } from "../../src/sandbox/wasm/tier.ts"
import { RecordingExchange } from "../contracts/recording-exchange.ts"
import { RecordingServices } from "../contracts/recording-services.ts"
import { event, LIMITS, request } from "../contracts/sandbox-contract.ts"
import { CLANG, findProgram, missing, WASI_CLANG, WASM_LD } from "../support/programs.ts"
import { createProject } from "../support/serve.ts"
import { exampleBehaviour } from "./example-behaviour.ts"
import { sdkSurface } from "./support-surface.ts"

const HEADER = fileURLToPath(new URL("../../sdk/c/bext.h", import.meta.url))

/** The command of sdk/README.md. */
const BARE = "--target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -o plugin.wasm src/plugin.c"
const WASI = "--target=wasm32-wasi -mexec-model=reactor -O2 -o plugin.wasm src/plugin.c"

function build(folder: string, clang: string, command: string): void {
  copyFileSync(HEADER, join(folder, "src/bext.h"))
  // With wasm-opt on PATH, as in npm's scripts, clang would let it rewrite the module, and names of functions be lost.
  const env = { ...process.env, PATH: [clang, findProgram(WASM_LD)!].map(dirname).join(delimiter) }
  const options = { cwd: folder, env, stdio: "pipe", timeout: 60_000 } as const
  execFileSync(clang, [...command.split(" "), "-Wall", "-Wextra", "-Werror"], options)
}

/** The fixture is one file. */
function buildFixture(folder: string, clang: string, command: string): void {
  mkdirSync(join(folder, "src"))
  renameSync(join(folder, "plugin.c"), join(folder, "src/plugin.c"))
  build(folder, clang, command)
}

const skip = missing(CLANG, WASM_LD)

exampleBehaviour({ language: "c", skip, build: (folder) => build(folder, findProgram(CLANG)!, BARE) })

sdkSurface({
  title: "SDK for C",
  language: "c",
  skip,
  lastWords: [],
  build: (folder) => buildFixture(folder, findProgram(CLANG)!, BARE),
})

sdkSurface({
  title: "SDK for C with a C library",
  language: "c",
  lastWords: [],
  skip: missing(WASI_CLANG, WASM_LD),
  build: (folder) => buildFixture(folder, findProgram(WASI_CLANG)!, WASI),
})

it("files in C and C++ share one header, its arena and its hooks", { skip }, async () => {
  using project = createProject({ "src/plugin.c": COUNT_IN_C, "src/words.cc": WORDS_IN_CPLUSPLUS })
  build(project.folder, findProgram(CLANG)!, `${BARE} src/words.cc -Wno-deprecated`)
  const source = { name: "guest", folder: project.folder, entry: project.path("plugin.wasm") }
  await using guest = await createWasmTier().load(source, new RecordingServices(), LIMITS, "shared")
  await guest.ready(event("on_server_start", [{ greeting: "hello" }]))
  const sizes = new Set<number>()
  for (let i = 0; i < 5000; i++) {
    const exchange = new RecordingExchange("/a")
    guest.call(request(exchange))
    assert.equal(exchange.text, "hello /a /a")
    sizes.add(guest.memoryBytes)
  }
  assert.equal(sizes.size, 1)
})

const COUNT_IN_C = `
#include "bext.h"
void write_words(bext_writer *words);
bext_str start_of(bext_str config);
static bext_str start;
BEXT_EVENT(on_server_start, config) {
  start = bext_keep(start_of(config));
  return BEXT_CONTINUE;
}
BEXT_ON_REQUEST() {
  bext_writer words = {0};
  bext_write(&words, start);
  write_words(&words);
  return bext_respond(200, BEXT_NONE, bext_text(&words));
}
`

const WORDS_IN_CPLUSPLUS = `
#include "bext.h"
extern "C" bext_str start_of(bext_str config) {
  return bext_json_text(bext_json_get(config, BEXT_STR("greeting")));
}
extern "C" void write_words(bext_writer *words) {
  for (int i = 0; i < 2; i++) {
    bext_write_char(words, ' ');
    bext_write(words, bext_path());
  }
}
`
