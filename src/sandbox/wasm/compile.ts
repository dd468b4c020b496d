import { createHash } from "node:crypto"
import { LRUCache } from "lru-cache"
import { fromPlainError, toPlainError } from "../../errors.ts"
import type { MeteredModule } from "../metering/meter.ts"
import { checkPreamble } from "./compile-preamble.ts"
import { CompileThread } from "./compile-thread.ts"

/** A module of a plugin, ready to be instantiated: metered, and all of it compiled. */
export interface CompiledGuest {
  readonly module: WebAssembly.Module
  readonly metered: Omit<MeteredModule, "bytes">
}

/** Compiles what plugins bring, out of reach of the thread that asks: a module can be made to keep a compiler busy. */
export interface Compiler extends AsyncDisposable {
  /** How many modules it has begun to compile. */
  readonly compiled: number
  /**
   * Checks, meters and compiles a module. The same bytes are compiled once, however many plugins have them.
   * @param plugin - The plugin's name, for messages.
   * @param bytes - The file. Hostile.
   * @param memoryBytes - What the module's memory may grow to; whole pages of 64 KiB count.
   * @throws {PluginError} `E_WASM_INVALID`, `E_WASM_UNSUPPORTED`, `E_WASM_LIMIT`, naming the byte where that is known.
   */
  compile(plugin: string, bytes: Uint8Array, memoryBytes: number): Promise<CompiledGuest>
}

export interface CompilerOptions {
  /** Milliseconds a module may take to be checked, metered and compiled, waits for other modules excluded. */
  readonly timeoutMs?: number
}

/** Ten times what the worst module within the limits takes on an idle machine. */
const TIMEOUT_MS = 30_000
const PAGE_BYTES = 64 * 1024
/** Source: WebAssembly Core 3.0 §4.2.10. */
const MOST_PAGES = 65_536
/** Modules kept although nobody has them, for a plugin that is unloaded and loaded again: bytes of metered code. */
const RECENT_BYTES = 8 * 1024 * 1024
/** Counted for each module on top of its code. */
const MODULE_BYTES = 64 * 1024

export function createCompiler(options: CompilerOptions = {}): Compiler {
  return new CachingCompiler(options)
}

class CachingCompiler implements Compiler {
  compiled = 0
  readonly #thread: CompileThread
  /** By content, while it is compiled. */
  readonly #underway = new Map<string, Promise<CompiledGuest>>()
  /** By content, as long as anybody has the module or an instance of it. */
  readonly #known = new Map<string, WeakRef<CompiledGuest>>()
  /** What keeps the whole for whoever keeps only the module. */
  readonly #guests = new WeakMap<WebAssembly.Module, CompiledGuest>()
  readonly #recent = new LRUCache<string, CompiledGuest>({ maxSize: RECENT_BYTES })
  readonly #forgotten = new FinalizationRegistry<string>((content) => {
    if (this.#known.get(content)?.deref() === undefined) this.#known.delete(content)
  })

  constructor({ timeoutMs = TIMEOUT_MS }: CompilerOptions) {
    this.#thread = new CompileThread(timeoutMs)
  }

  async compile(plugin: string, bytes: Uint8Array, memoryBytes: number): Promise<CompiledGuest> {
    try {
      checkPreamble(bytes)
      return await this.#find(bytes, Math.min(Math.floor(memoryBytes / PAGE_BYTES), MOST_PAGES))
    } catch (error) {
      throw fromPlainError(toPlainError(error), plugin)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#recent.clear()
    await this.#thread[Symbol.asyncDispose]()
  }

  #find(bytes: Uint8Array, pages: number): CompiledGuest | Promise<CompiledGuest> {
    const content = `${createHash("sha256").update(bytes).digest("base64")} ${pages}`
    const known = this.#recent.get(content) ?? this.#known.get(content)?.deref()
    if (known !== undefined) return known
    return this.#underway.get(content) ?? this.#start(content, bytes, pages)
  }

  #start(content: string, bytes: Uint8Array, pages: number): Promise<CompiledGuest> {
    this.compiled++
    const compiled = this.#compile(content, bytes, pages)
    this.#underway.set(content, compiled)
    return compiled
  }

  async #compile(content: string, bytes: Uint8Array, pages: number): Promise<CompiledGuest> {
    try {
      const { guest, codeBytes } = await this.#thread.compile(bytes, pages)
      this.#known.set(content, new WeakRef(guest))
      this.#guests.set(guest.module, guest)
      this.#forgotten.register(guest, content)
      this.#recent.set(content, guest, { size: MODULE_BYTES + codeBytes })
      return guest
    } finally {
      this.#underway.delete(content)
    }
  }
}
