import { GUEST_FILES } from "./guest/globals.ts"

const SOURCES = new Map(GUEST_FILES.flatMap(({ provides, source }) => provides.map((name) => [name, source])))

/** Globals of the guest library, made when a guest first reads one. */
export const LIBRARY_NAMES: readonly string[] = [...SOURCES.keys()].filter((name) => !name.startsWith("$"))

/** Source of the library file that provides `name`. Only the prelude asks. */
export function librarySource(name: string): string {
  const source = SOURCES.get(name)
  if (source === undefined) throw new Error(`no library file provides ${name}`)
  return source
}
