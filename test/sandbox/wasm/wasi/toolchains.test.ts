import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, describe, it, type TestContext } from "node:test"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { HookCall, Sandbox } from "../../../../src/sandbox/sandbox.ts"
import { createWasmTier } from "../../../../src/sandbox/wasm/tier.ts"
import { RecordingExchange } from "../../../contracts/recording-exchange.ts"
import { RecordingServices } from "../../../contracts/recording-services.ts"
import {
  findProgram,
  GO,
  missing,
  type TestProgram,
  WASI_CLANG,
  WASM_LD,
  WASM_RUSTC,
} from "../../../support/programs.ts"
import { writeWasm } from "../write-wasm.ts"

const GUESTS = fileURLToPath(new URL("guests", import.meta.url))
const built = mkdtempSync(join(tmpdir(), "bext-wasi-guests-"))
after(() => rmSync(built, { recursive: true, force: true }))
const tier = createWasmTier()

const RUST: TestProgram = { ...WASM_RUSTC, usedBy: "guests in Rust for wasm32-wasi" }
const LIMITS = { memoryBytes: 64 * 1024 * 1024, messageBytes: 64 * 1024, maxInstances: 4 }

describe("a guest in C with wasi-libc", { skip: missing(WASI_CLANG, WASM_LD) }, () => {
  const build = () => clang("use-libc.c")

  it("has clocks, random bytes and output, and no files, no environment and no sleep", async (t) => {
    const guest = await load(t, await build())
    guest.request("/")
    assert.deepEqual(guest.lines, [
      "info environment: empty",
      `info year: ${new Date().getUTCFullYear()}, part of a millisecond: 0`,
      "info random: yes",
      "info open: Capabilities insufficient",
      "info fopen: Capabilities insufficient",
      "info getchar: -1",
      "info nanosleep: Not supported",
      "info isatty: 1",
      "info no newline",
      "warn a warning without an end",
    ])
  })

  it("ends a call when it exits or aborts, and is whole again for the next", async (t) => {
    const guest = await load(t, await build())
    assert.throws(() => guest.request("/exit"), { code: "E_GUEST_TRAPPED", message: /proc_exit\(3\)/ })
    assert.throws(() => guest.request("/abort"), { code: "E_GUEST_TRAPPED" })
    guest.request("/")
    assert.equal(guest.lines.length, 10)
  })

  it("may import every function of preview 1, with the types its header declares", async (t) => {
    const guest = await load(t, await clang("use-every-function.c"))
    guest.request("/")
  })
})

describe("a guest in Go", { skip: missing(GO) }, () => {
  const build = async () => {
    const file = join(built, "go.wasm")
    const args = ["build", "-buildmode=c-shared", "-o", file, "."]
    const env = { ...process.env, GOOS: "wasip1", GOARCH: "wasm", GOFLAGS: "", GOWORK: "off" }
    await run(GO, args, { cwd: join(GUESTS, "use-go"), env })
    return file
  }

  it("has clocks, random bytes, goroutines and output; a sleep spends the call's CPU time", async (t) => {
    const guest = await load(t, await build())
    guest.request("/")
    assert.deepEqual(guest.lines, [
      "info arguments: 0 environment: 0",
      `info year: ${new Date().getUTCFullYear()} part of a millisecond: 0`,
      "info random: true",
      "info open: open /etc/passwd: Bad file number",
      "info stdin: 0 EOF",
      "info goroutine: 7",
      "info slept: true",
      "warn a warning without an end",
    ])
  })

  it("ends a call when it exits or panics, and is whole again for the next", async (t) => {
    const guest = await load(t, await build())
    assert.throws(() => guest.request("/exit"), { code: "E_GUEST_TRAPPED", message: /proc_exit\(4\)/ })
    assert.throws(() => guest.request("/panic"), { code: "E_GUEST_TRAPPED", message: /unreachable/ })
    assert.ok(guest.lines.includes("warn panic: on purpose"))
    guest.request("/")
    assert.ok(guest.lines.includes("info goroutine: 7"))
  })
})

describe("a guest in Rust", { skip: missing(RUST, WASM_LD) }, () => {
  const build = async () => {
    const file = join(built, "rust.wasm")
    const args = ["--edition", "2021", "-O", "--crate-type", "cdylib", "--target", "wasm32-wasi"]
    await run(RUST, [...args, "-o", file, join(GUESTS, "use-rust.rs")])
    return file
  }

  it("has clocks, random bytes and output, and no files and no environment", async (t) => {
    const guest = await load(t, await build())
    guest.request("/")
    assert.deepEqual(guest.lines, [
      "info arguments: 0 environment: 0",
      "info time: true",
      "info open: Some(Uncategorized)",
      "info stdin: Some(0)",
      "info map: Some(2)",
      "warn a warning without an end",
    ])
  })

  it("ends a call when it exits, panics or wants to sleep, and is whole again for the next", async (t) => {
    const guest = await load(t, await build())
    assert.throws(() => guest.request("/exit"), { code: "E_GUEST_TRAPPED", message: /proc_exit\(5\)/ })
    assert.throws(() => guest.request("/panic"), { code: "E_GUEST_TRAPPED" })
    assert.ok(guest.lines.some((line) => /^warn thread .* panicked at 'on purpose'/.test(line)))
    assert.throws(() => guest.request("/sleep"), { code: "E_GUEST_TRAPPED" })
    assert.ok(guest.lines.some((line) => /^warn thread .* panicked at .*poll_oneoff/.test(line)))
    guest.request("/")
    assert.ok(guest.lines.includes("info map: Some(2)"))
  })
})

async function clang(source: string): Promise<string> {
  const file = join(built, `${source}.wasm`)
  const args = ["--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-Wall", "-Werror"]
  await run(WASI_CLANG, [...args, "-o", file, join(GUESTS, source)])
  return file
}

async function run(program: TestProgram, args: readonly string[], options: object = {}): Promise<void> {
  await promisify(execFile)(findProgram(program)!, args, { timeout: 170_000, ...options })
}

interface LoadedGuest {
  readonly lines: readonly string[]
  request(path: string): void
}

async function load(t: TestContext, file: string): Promise<LoadedGuest> {
  const services = new RecordingServices()
  const sandbox: Sandbox = await writeWasm(await tier, await readFile(file), { services, limits: LIMITS })
  t.after(() => sandbox[Symbol.asyncDispose]())
  return {
    lines: services.lines,
    request(path) {
      const call: HookCall = {
        hook: "on_request",
        exchange: new RequestFor(path),
        params: [],
        tenant: null,
        limits: { cpuMs: 2000, wallMs: 10_000, fuel: 500_000_000 },
        leader: false,
        signal: null,
      }
      assert.equal(sandbox.call(call), undefined)
    },
  }
}

class RequestFor extends RecordingExchange {
  override readonly query = "" as never
}
