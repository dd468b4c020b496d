import { execFileSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { CARGO, findProgram, WASM_RUSTC } from "../support/programs.ts"

const CRATE = fileURLToPath(new URL("../../sdk/rust", import.meta.url))

/** Builds Rust plugins, which share what cargo makes of the SDK. */
export class RustBuilder implements Disposable {
  readonly #target = mkdtempSync(join(tmpdir(), "bext-cargo-"))

  /** Makes `plugin.wasm` of the crate in `folder`, with the SDK beside it: as sdk/README.md tells plugin authors. */
  build(folder: string, name: string): void {
    for (const part of ["Cargo.toml", "src"]) {
      cpSync(join(CRATE, part), join(folder, "bext-plugin", part), { recursive: true })
    }
    const manifest = join(folder, "Cargo.toml")
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace('path = "../.."', 'path = "bext-plugin"'))
    this.cargo(folder, "build", "--release", "--target", "wasm32-unknown-unknown")
    const file = `${name.replaceAll("-", "_")}.wasm`
    cpSync(join(this.#target, "wasm32-unknown-unknown/release", file), join(folder, "plugin.wasm"))
  }

  /** @returns what it wrote to standard output. */
  cargo(folder: string, ...args: readonly string[]): string {
    const env = {
      ...process.env,
      RUSTC: findProgram(WASM_RUSTC),
      RUSTFLAGS: "-D warnings",
      CARGO_TARGET_DIR: this.#target,
      CARGO_NET_OFFLINE: "true",
    }
    return execFileSync(findProgram(CARGO)!, args, { cwd: folder, env, encoding: "utf8", timeout: 170_000 })
  }

  [Symbol.dispose](): void {
    rmSync(this.#target, { recursive: true, force: true })
  }
}
