import { PluginError, toPlainError } from "../../../errors.ts"
import type { HookName } from "../../../hooks.ts"
import type { ModuleShape } from "../../metering/module-shape.ts"
import type { HookCall, Json } from "../../sandbox.ts"
import type { Binding, Entry, Guest, ImportedFunction } from "../abi.ts"
import { bindWasi, type Wasi } from "../wasi/bind-wasi.ts"
import { WASI_MODULE } from "../wasi/types.ts"
import { bindFunction } from "./abi-function.ts"
import { unpackBuffer } from "./buffer.ts"
import { Conversation } from "./conversation.ts"
import { BEXT_MODULE, FUNCTIONS } from "./functions.ts"
import { HOOK_EXPORTS } from "./hook-exports.ts"
import { REFUSAL_CODES } from "./refusal-codes.ts"

/** Characters of what a guest says went wrong. */
const MAX_REASON = 2000

/** One instance of a module that speaks the bext ABI. */
export class BextBinding implements Binding {
  readonly imports: Readonly<Record<string, Readonly<Record<string, ImportedFunction>>>>
  readonly #guest: Guest
  readonly #talk: Conversation
  readonly #wasi: Wasi | null
  #initialise: (() => void) | null = null

  /** @param shape - Of a checked module. */
  constructor(guest: Guest, shape?: ModuleShape) {
    this.#guest = guest
    this.#talk = new Conversation(guest)
    const needsWasi = shape === undefined || shape.imports.some(({ module }) => module === WASI_MODULE)
    this.#wasi = needsWasi ? bindWasi(guest) : null
    const names = shape?.imports.filter(({ module }) => module === BEXT_MODULE).map(({ name }) => name)
    const functions: Record<string, ImportedFunction> = {}
    for (const name of names ?? FUNCTIONS.keys()) functions[name] = bindFunction(FUNCTIONS.get(name)!, this.#talk)
    this.imports = { [BEXT_MODULE]: functions, [WASI_MODULE]: this.#wasi?.functions ?? {} }
  }

  attach(exports: WebAssembly.Exports): void {
    this.#talk.attach(exports.bext_alloc as (size: number) => number)
    this.#initialise = (exports._initialize as (() => void) | undefined) ?? null
  }

  initialise(): void {
    this.#talk.notWaiting("_initialize", () => this.#initialise?.())
  }

  enter({ hook, params }: HookCall): Entry {
    this.#talk.reset()
    const texts = HOOK_EXPORTS[hook].texts(params)
    if (texts.length === 0) return entryOf(hook)
    // Before anything of the guest runs.
    const sizes = texts.map((text) => this.#talk.checkSize(text))
    const args = texts.flatMap((text, i) => [this.#talk.place(text, sizes[i]!), sizes[i]!])
    return { exportName: hook, args }
  }

  leave({ hook }: HookCall, result: number | bigint | undefined): Json | undefined {
    const expected = HOOK_EXPORTS[hook].result
    if (typeof result === "number" && expected === "number") {
      if (result < 0) throw this.#failure(hook, result)
      this.#checkNumber(hook, result)
      return undefined
    }
    if (typeof result !== "bigint") throw this.#invalid(hook, "nothing that this hook may return")
    const { address, length } = unpackBuffer(result)
    if (address === 0) {
      if (length === 0) return undefined
      const code = length | 0
      throw code < 0 ? this.#failure(hook, code) : this.#invalid(hook, "a buffer at address 0")
    }
    const text = this.#talk.text(address, length)
    return expected === "text" ? text : this.#parse(hook, text)
  }

  over(): void {
    this.#talk.reset()
    this.#wasi?.over()
  }

  #checkNumber(hook: HookName, result: number): void {
    const { responded } = this.#talk
    if (result === 0 && !responded) return
    if (result === 1 && responded) return
    if (responded) throw this.#invalid(hook, `${result} after it called respond; expected 1`)
    if (result === 1 && hook === "on_request") throw this.#invalid(hook, "1, but did not call respond")
    throw this.#invalid(hook, `${result}; expected 0${hook === "on_request" ? ", 1" : ""} or a negative number`)
  }

  #parse(hook: HookName, text: string): Json {
    try {
      return JSON.parse(text)
    } catch {
      throw this.#invalid(hook, "a buffer that is not JSON")
    }
  }

  #invalid(hook: HookName, what: string): PluginError {
    return new PluginError("E_GUEST_RESULT_INVALID", this.#guest.name, `${hook} returned ${what}`)
  }

  #failure(hook: HookName, result: number): PluginError {
    const { refusal, reason } = this.#talk
    const { name } = this.#guest
    const said = reason === null ? "" : reason.slice(0, MAX_REASON)
    if (refusal === null) {
      const what = said === "" ? `returned ${result} without saying why by fail` : said
      return new PluginError("E_GUEST_THREW", name, `${hook}: ${what}`)
    }
    const refused = toPlainError(refusal).what
    if (REFUSAL_CODES.get(refusal.code) === result) {
      const what = said === "" || said === refused ? refused : `${said}: ${refused}`
      return new PluginError(refusal.code, name, `${hook}: ${what}`, { cause: refusal })
    }
    const what = said === "" ? `returned ${result} without saying why by fail` : said
    const before = ` (the host last refused: ${refused} [${refusal.code}])`
    return new PluginError("E_GUEST_THREW", name, `${hook}: ${what}${before}`, { cause: refusal })
  }
}

/** Made once: most calls have a request and no parameters. */
const entries = new Map<HookName, Entry>()

function entryOf(hook: HookName): Entry {
  let entry = entries.get(hook)
  if (entry === undefined) {
    entry = { exportName: hook, args: [] }
    entries.set(hook, entry)
  }
  return entry
}
