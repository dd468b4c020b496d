import { invalid, unsupported } from "./module-rejected.ts"
import { Reader } from "./reader.ts"

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const

/** The order in which sections may come; each at most once. */
const ORDER: readonly number[] = [
  SECTION.type,
  SECTION.import,
  SECTION.function,
  SECTION.table,
  SECTION.memory,
  SECTION.global,
  SECTION.export,
  SECTION.start,
  SECTION.element,
  SECTION.dataCount,
  SECTION.code,
  SECTION.data,
]

/** "\0asm" and version 1. */
export const PREAMBLE = Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00)

/**
 * Finds the sections of a module; of the custom sections only the first that is called "name" is kept.
 * @returns Readers over the contents, by section id; `custom` is the name section's contents behind its name.
 * @throws {ModuleRejected} when the preamble is wrong, a section overruns, is unknown, repeated or out of order.
 * Source: WebAssembly Core 3.0 §5.5.
 */
export function readSections(bytes: Uint8Array): ReadonlyMap<number, Reader> {
  const reader = new Reader(bytes)
  for (const expected of PREAMBLE) if (reader.u8() !== expected) invalid("not a WebAssembly 1 module", reader.at - 1)
  const sections = new Map<number, Reader>()
  let place = -1
  while (reader.at < bytes.length) {
    const start = reader.at
    const id = reader.u8()
    const size = reader.u32()
    const contents = reader.at
    reader.skip(size)
    if (id === SECTION.custom) {
      const names = nameSection(new Reader(bytes, contents, contents + size))
      if (names !== null && !sections.has(SECTION.custom)) sections.set(SECTION.custom, names)
      continue
    }
    if (id === SECTION.tag) unsupported("exception handling", start)
    const nextPlace = ORDER.indexOf(id)
    if (nextPlace < 0) invalid(`unknown section ${id}`, start)
    if (nextPlace <= place) invalid(`section ${id} is repeated or out of order`, start)
    place = nextPlace
    sections.set(id, new Reader(bytes, contents, contents + size))
  }
  return sections
}

/** @returns The contents, behind the name, of a custom section that is called "name". */
function nameSection(reader: Reader): Reader | null {
  const length = reader.u32()
  const start = reader.at
  reader.skip(length)
  return length === 4 && Buffer.from(reader.bytes.buffer, reader.bytes.byteOffset + start, 4).equals(NAME)
    ? reader
    : null
}

const NAME = Buffer.from("name")
