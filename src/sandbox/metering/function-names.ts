import { isUtf8 } from "node:buffer"
import { Reader } from "./reader.ts"
import { Writer } from "./writer.ts"

/** More than this of names is dropped: they are for stack traces only. */
const MOST_BYTES = 1024 * 1024
const MOST_NAME_BYTES = 512
const FUNCTION_NAMES = 1

/**
 * Reads the function names of a name section and writes them as a name section with moved indices.
 *
 * Nothing that a module does depends on its name section, so nothing in it makes a module invalid: what is malformed ends
 * the reading, and a name that is too long, not UTF-8 or of no function is left out.
 * @param moveFunction - New index of a function, or null when there is none of this index.
 * Source: WebAssembly Core 3.0, appendix "Custom Sections", name section.
 */
export function writeFunctionNames(reader: Reader, moveFunction: (index: number) => number | null, out: Writer): void {
  const names = new Writer(1024)
  let count = 0
  try {
    const contents = findFunctionNames(reader)
    let last = -1
    for (let left = contents?.u32() ?? 0; left > 0 && contents !== null; left--) {
      const index = contents.u32()
      const length = contents.u32()
      const start = contents.at
      contents.skip(length)
      const moved = index > last ? moveFunction(index) : null
      last = index
      if (moved === null || length > MOST_NAME_BYTES || !isUtf8(contents.bytes.subarray(start, contents.at))) continue
      if (names.length + length > MOST_BYTES) break
      names.u32(moved)
      names.u32(length)
      names.copy(contents.bytes, start, contents.at)
      count++
    }
  } catch {
    // Malformed from here on.
  }
  const map = new Writer(names.length + 5)
  map.u32(count)
  map.append(names)
  out.name("name")
  out.u8(FUNCTION_NAMES)
  out.sized(map)
}

function findFunctionNames(reader: Reader): Reader | null {
  while (reader.at < reader.end) {
    const id = reader.u8()
    const size = reader.u32()
    const start = reader.at
    reader.skip(size)
    if (id === FUNCTION_NAMES) return new Reader(reader.bytes, start, reader.at)
  }
  return null
}
