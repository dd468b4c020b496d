import { CodeSection } from "./code-section.ts"
import {
  Declarations,
  FUEL_EXPORT,
  FUEL_GET_EXPORT,
  FUEL_SET_EXPORT,
  globalExport,
  METER_MODULE,
  REFILL_NAME,
  START_EXPORT,
} from "./declarations.ts"
import { writeFunctionNames } from "./function-names.ts"
import { checkLimit, checkMeteredSize, invalid } from "./module-rejected.ts"
import type { ModuleShape } from "./module-shape.ts"
import type { Profile, TrustedProfile, UntrustedProfile } from "./profiles.ts"
import type { Reader } from "./reader.ts"
import { PREAMBLE, readSections, SECTION } from "./sections.ts"
import { Writer } from "./writer.ts"

/** What the two profiles have in common: a module that stops by itself when its fuel is used up and the host grants no more. */
interface Metered {
  readonly bytes: Uint8Array<ArrayBuffer>
  /**
   * Function to import: no parameters, returns the units to add to the counter. It is called when the counter is negative,
   * and again until the counter is not negative. Zero or less makes the module trap: `RuntimeError: unreachable`, which a
   * guest can cause by itself too. Only the host knows which it was: out of fuel is when its refill has just answered so.
   * The counter it sees is exact.
   */
  readonly refill: { readonly module: string; readonly name: string }
  /** Exports of the module's own mutable globals, when the profile asks for them: by index in the original module. */
  readonly globalExports: ReadonlyMap<number, string>
}

/** A module of a plugin, metered. Everything but `bytes` can be cloned to another thread. */
export interface MeteredModule extends Metered {
  /** `() -> f64`; units are whole, fractions are cut off, what is not a number is 0. It may not call the module. */
  readonly refill: { readonly module: string; readonly name: string }
  /**
   * Exports that read and write the counter, `() -> f64` and `(f64) -> ()`, also during an import or a refill. Set it before
   * a call; what a call used is what was set, plus what refill granted, minus what is left: the same however much is granted
   * at a time. What is left can be less than nothing when a call returns, because not every charge is checked: a call may
   * have used more than its budget then without having asked. 0 after instantiation. After a trap that is not out of fuel
   * it is too high by whatever was used since the host was last asked or called.
   */
  readonly fuel: { readonly get: string; readonly set: string }
  /**
   * Export that the module's start function became. The host calls it once, before anything else; instantiation runs
   * nothing of the guest. Null: there is none.
   */
  readonly start: string | null
  /**
   * Null: memory and own mutable globals are all of the module's state, so who restores them restores the module. Otherwise
   * what may change something else, for a message: "table.set at byte 1234".
   */
  readonly inexact: string | null
  readonly shape: ModuleShape
  /** The module's own memory, with the profile's cap; null when it has none or imports it. */
  readonly memory: { readonly initialPages: number; readonly maximumPages: number } | null
}

/** A binary that the host chose, metered. `refill` is `() -> i32`. */
export interface MeteredBinary extends Metered {
  /** Exported mutable i32 global: units left. 0 after instantiation; set it before a call. */
  readonly fuelExport: string
}

/**
 * Rewrites a module so that it counts what it executes and can be stopped. Results, traps and side effects stay the
 * original's. The caller compiles `bytes` as they are.
 *
 * @param bytes - A binary module. It need not be valid, but is refused when it is not.
 * @throws {ModuleRejected} `E_WASM_INVALID`, `E_WASM_UNSUPPORTED` (names the feature), `E_WASM_LIMIT`; with the offset.
 */
export function meter(bytes: Uint8Array, profile: UntrustedProfile): MeteredModule
export function meter(bytes: Uint8Array, profile: TrustedProfile): MeteredBinary
export function meter(bytes: Uint8Array, profile: Profile): MeteredModule | MeteredBinary {
  if (profile.trust === "untrusted") checkLimit("module size in bytes", bytes.length, profile.limits.moduleBytes, 0)
  const sections = readSections(bytes)
  const module = new Declarations(profile)
  const out = new Writer(bytes.length * 2)
  const contents = new Writer(65_536)
  /** Writes a section that always exists afterwards. */
  const always = (id: number, rewrite: (reader: Reader | undefined, out: Writer) => void) => {
    contents.clear()
    rewrite(sections.get(id), contents)
    out.u8(id)
    out.sized(contents)
  }
  /** Writes a section only if the original has it. */
  const present = (id: number, rewrite: (reader: Reader, out: Writer) => void) => {
    const reader = sections.get(id)
    if (reader !== undefined) always(id, (_, contents) => rewrite(reader, contents))
  }
  const start = sections.get(SECTION.start)

  out.copy(PREAMBLE, 0, PREAMBLE.length)
  always(SECTION.type, (reader, out) => module.types(reader, out))
  always(SECTION.import, (reader, out) => module.imports(reader, out))
  always(SECTION.function, (reader, out) => module.functions(reader, out))
  present(SECTION.table, (reader, out) => module.tables(reader, out))
  present(SECTION.memory, (reader, out) => module.memories(reader, out))
  always(SECTION.global, (reader, out) => module.globals(reader, out))
  always(SECTION.export, (reader, out) => module.exports(reader, start, out))
  if (profile.trust === "trusted") present(SECTION.start, (reader, out) => out.u32(module.start(reader)))
  present(SECTION.element, (reader, out) => module.elements(reader, out))
  present(SECTION.dataCount, copySection)
  const code = new CodeSection(module, profile)
  const bodies = new Writer(bytes.length * 2)
  code.rewrite(sections.get(SECTION.code), bodies)
  always(SECTION.custom, (_, out) => code.branchHints(out))
  out.u8(SECTION.code)
  out.sized(bodies)
  present(SECTION.data, (reader, out) => module.data(reader, out))
  if (profile.trust === "untrusted")
    present(SECTION.custom, (reader, out) => writeFunctionNames(reader, (index) => module.findFunction(index), out))
  if (profile.trust === "untrusted") checkMeteredSize(out.length, profile.limits.meteredBytes, bytes.length)

  if (profile.trust === "trusted" && code.unmetered !== 1)
    invalid(`${code.unmetered} bodies over ${profile.unmeteredAboveBytes} bytes instead of one`, 0)
  // The rewritten module can be valid although the original is not: an index past the end may now name one of ours.
  if (!WebAssembly.validate(bytes)) rejectInvalid(bytes)
  const metered: Metered = {
    bytes: out.finish(),
    refill: { module: METER_MODULE, name: REFILL_NAME },
    globalExports: new Map(
      profile.exportGlobals ? module.mutableGlobals.map((index) => [index, globalExport(index)]) : [],
    ),
  }
  if (profile.trust === "trusted") return { ...metered, fuelExport: FUEL_EXPORT }
  return {
    ...metered,
    fuel: { get: FUEL_GET_EXPORT, set: FUEL_SET_EXPORT },
    start: start === undefined ? null : START_EXPORT,
    inexact: module.hiddenState ?? code.hiddenState,
    shape: { imports: module.importShapes, exports: module.exportShapes },
    memory: module.memory,
  }
}

function copySection(reader: Reader, out: Writer): void {
  out.copy(reader.bytes, reader.at, reader.end)
}

/** Rejects with V8's reason and offset: "Compiling function #3 failed: expected type i32 @+57". */
function rejectInvalid(bytes: Uint8Array): never {
  try {
    new WebAssembly.Module(bytes)
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error
    const [, reason, offset] = /^(?:WebAssembly\.Module\(\): )?(.*?)(?: @\+(\d+))?$/s.exec(error.message)!
    // The reason may quote a name of the module, which may contain anything.
    invalid(reason!.replace(/[^ -~]+/g, "?"), Number(offset ?? 0))
  }
  return invalid("not a valid module", 0)
}
