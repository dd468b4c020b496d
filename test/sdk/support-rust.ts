import { execFileSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { CARGO, findProgram, WASM_RUSTC } from "../support/programs.ts"

const CRATE = fileURLToPath(new URL("../../sdk/rust", import.meta.url))

/** Builds Rust plugins, which share what cargo makes of the SDK. */
export class RustBuilder implements Disposable {
  readonly #target = mkdtempSync(join(tmpdir(), "bext-cargo-"))

  /** Makes `plugin.wasm` of the crate in `folder`, with the SDK beside it: as sdk/README.md tells plugin authors. */
  build(folder: string, name: string): void {
    this.copyCrate(join(folder, "bext-plugin"))
    const manifest = join(folder, "Cargo.toml")
    const vendored = readFileSync(manifest, "utf8").replace(/^(bext-plugin = \{ path = )"[^"]*"/m, '$1"bext-plugin"')
    writeFileSync(manifest, vendored)
    this.cargo(folder, "build", "--release", "--target", "wasm32-unknown-unknown")
    const file = `${name.replaceAll("-", "_")}.wasm`
    cpSync(join(this.#target, "wasm32-unknown-unknown/release", file), join(folder, "plugin.wasm"))
  }

  /** Copies what a plugin has of the SDK. */
  copyCrate(folder: string): void {
    for (const part of ["Cargo.toml", "src"]) cpSync(join(CRATE, part), join(folder, part), { recursive: true })
  }

  /** @returns what it wrote to standard output. */
  cargo(folder: string, ...args: readonly string[]): string {
    const rustc = findProgram(WASM_RUSTC)!
    const env = {
      ...process.env,
      RUSTC: rustc,
      RUSTDOC: join(dirname(rustc), "rustdoc"),
      RUSTFLAGS: "-D warnings",
      CARGO_TARGET_DIR: this.#target,
      CARGO_NET_OFFLINE: "true",
    }
    const options = { cwd: folder, env, encoding: "utf8", stdio: "pipe", timeout: 170_000 } as const
    return execFileSync(findProgram(CARGO)!, args, options)
  }

  [Symbol.dispose](): void {
    rmSync(this.#target, { recursive: true, force: true })
  }
}
