import { CodeSection } from "./code-section.ts"
import { Declarations, FUEL_EXPORT, globalExport, METER_MODULE, REFILL_NAME } from "./declarations.ts"
import { checkLimit, invalid } from "./module-rejected.ts"
import type { Profile } from "./profiles.ts"
import type { Reader } from "./reader.ts"
import { PREAMBLE, readSections, SECTION } from "./sections.ts"
import { Writer } from "./writer.ts"

/** A module that stops by itself when its fuel is used up and the host grants no more. */
export interface MeteredModule {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Type of the counter: `i32` is a number in JavaScript (trusted profile), `i64` a bigint (untrusted profile). */
  readonly counter: "i32" | "i64"
  /**
   * Function to import: no parameters, returns the units to add to the counter (of the counter's type). It is called
   * when the counter is negative, also from a start function, and again until the counter is not negative. Zero or less
   * makes the module trap (`unreachable`). The counter it sees is exact.
   */
  readonly refill: { readonly module: string; readonly name: string }
  /**
   * Exported mutable global: units left. Set it before a call; what a call used is what was set, plus what refill granted,
   * minus what is left. 0 after instantiation. After a trap that is not `unreachable` it may be too high.
   */
  readonly fuelExport: string
  /** Exports of the module's own mutable globals, when the profile asks for them: by index in the original module. */
  readonly globalExports: ReadonlyMap<number, string>
}

/**
 * Rewrites a module so that it counts what it executes and can be stopped. Results, traps and side effects stay the
 * original's. The caller compiles `bytes` as they are.
 *
 * @param bytes - A binary module. It need not be valid, but is refused when it is not.
 * @throws {ModuleRejected} `E_WASM_INVALID`, `E_WASM_UNSUPPORTED` (names the feature), `E_WASM_LIMIT`; with the offset.
 */
export function meter(bytes: Uint8Array, profile: Profile): MeteredModule {
  if (profile.trust === "untrusted") checkLimit("module size in bytes", bytes.length, profile.limits.moduleBytes, 0)
  const sections = readSections(bytes)
  const module = new Declarations(profile)
  const out = new Writer(bytes.length * 2)
  const contents = new Writer(bytes.length)
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

  out.copy(PREAMBLE, 0, PREAMBLE.length)
  always(SECTION.type, (reader, out) => module.types(reader, out))
  always(SECTION.import, (reader, out) => module.imports(reader, out))
  always(SECTION.function, (reader, out) => module.functions(reader, out))
  present(SECTION.table, (reader, out) => module.tables(reader, out))
  present(SECTION.memory, (reader, out) => module.memories(reader, out))
  always(SECTION.global, (reader, out) => module.globals(reader, out))
  always(SECTION.export, (reader, out) => module.exports(reader, out))
  present(SECTION.start, (reader, out) => module.start(reader, out))
  present(SECTION.element, (reader, out) => module.elements(reader, out))
  present(SECTION.dataCount, copySection)
  const code = new CodeSection(module, profile)
  const bodies = new Writer(bytes.length * 2)
  code.rewrite(sections.get(SECTION.code), bodies)
  always(SECTION.custom, (_, out) => code.branchHints(out))
  always(SECTION.code, (_, out) => out.append(bodies))
  present(SECTION.data, (reader, out) => module.data(reader, out))

  if (profile.trust === "trusted" && code.unmetered !== 1)
    invalid(`${code.unmetered} bodies over ${profile.unmeteredAboveBytes} bytes instead of one`, 0)
  // The rewritten module can be valid although the original is not: an index past the end may now name one of ours.
  if (!WebAssembly.validate(bytes)) rejectInvalid(bytes)
  return {
    bytes: out.finish(),
    counter: profile.trust === "trusted" ? "i32" : "i64",
    refill: { module: METER_MODULE, name: REFILL_NAME },
    fuelExport: FUEL_EXPORT,
    globalExports: new Map(
      profile.exportGlobals ? module.mutableGlobals.map((index) => [index, globalExport(index)]) : [],
    ),
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
