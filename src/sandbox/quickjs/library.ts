import { readFileSync } from "node:fs"
import { GUEST_FILES } from "./guest/globals.ts"

/** A script of the guest library, evaluated in a guest that uses something of it. See GuestFile for its form. */
interface LibraryFile {
  readonly provides: readonly string[]
  /** A guest whose sources hold one of these words gets the file into its image; others at first touch. */
  readonly words: readonly string[]
  readonly source: string
  /** Evaluating it asks for something of the guest, so that no two guests can share the result. */
  readonly perGuest?: true
}

const FILES: readonly LibraryFile[] = [
  prelude("marshal", ["$headersText", "$payload", "$respond", "$toBytes", "$fillArray"], ["respond", "Response"]),
  prelude(
    "changes",
    ["$BodyReader", "$changes", "$Extensions", "$setIdentity"],
    ["request", "response", "body", "extensions", "setIdentity"],
  ),
  prelude("wait-until", ["$waitUntil"], ["waitUntil"]),
  { ...prelude("bext", ["bext"], ["bext"]), perGuest: true },
  prelude("storage", ["$storage"], ["storage"]),
  prelude("queue", ["$queue"], ["queue"]),
  prelude("host-crypto", ["$hostCrypto"], ["hmac", "sha256", "timingSafeEqual"]),
  prelude("fetch", ["$fetch"], ["fetch"]),
  prelude("console", ["console", "$inspect", "$report"], ["console"]),
  prelude("timers", ["setTimeout", "setInterval", "clearTimeout", "clearInterval"], ["setTimeout", "setInterval"]),
  prelude("crypto", ["crypto", "performance"], ["getRandomValues", "randomUUID", "performance"]),
  ...GUEST_FILES.map(({ provides, source }) => ({ provides, words: provides.filter(isGlobal), source })),
]

/** Globals of the guest library, made when a guest first reads one. */
export const LIBRARY_GLOBALS: readonly string[] = FILES.flatMap(({ provides }) => provides.filter(isGlobal))

const SOURCES = new Map(FILES.flatMap(({ provides, source }) => provides.map((name) => [name, source])))

/** Source of the library file that provides `name`. Only the prelude asks. */
export function librarySource(name: string): string {
  const source = SOURCES.get(name)
  if (source === undefined) throw new Error(`no library file provides ${name}`)
  return source
}

/**
 * The files that a guest is going to use, judging by its sources: one name of each.
 * @returns `shared`: those that are the same in every guest. `own`: those that are to be evaluated in the guest itself.
 */
export function libraryOf(mentions: (word: string) => boolean): { readonly shared: string[]; readonly own: string[] } {
  const used = FILES.filter(({ words }) => words.some(mentions))
  const names = (perGuest: boolean) =>
    used.filter((file) => (file.perGuest ?? false) === perGuest).map(({ provides }) => provides[0]!)
  return { shared: names(false), own: names(true) }
}

function isGlobal(name: string): boolean {
  return !name.startsWith("$")
}

function prelude(file: string, provides: readonly string[], words: readonly string[]): LibraryFile {
  const text = readFileSync(new URL(`./prelude/${file}.js`, import.meta.url), "utf8")
  return { provides, words, source: text }
}
