const PAGE_BYTES = 65_536
/** What is compared and kept as a whole. */
const BLOCK_BYTES = 4096

/** The state of an instance at rest: what its memory holds, and its mutable globals. */
export interface Image {
  /** Size of the memory, in pages of 64 KiB. */
  readonly pages: number
  /** What is not zero, in ascending order, without gaps of less than a block. */
  readonly runs: readonly { readonly at: number; readonly bytes: Uint8Array }[]
  /** By export name. */
  readonly globals: readonly (readonly [name: string, value: unknown])[]
}

export function captureImage(
  memory: WebAssembly.Memory,
  globals: readonly string[],
  exports: WebAssembly.Exports,
): Image {
  const bytes = new Uint8Array(memory.buffer)
  return {
    pages: bytes.length / PAGE_BYTES,
    runs: findRuns(bytes).map(([at, end]) => ({ at, bytes: bytes.slice(at, end) })),
    globals: globals.map((name) => [name, (exports[name] as WebAssembly.Global).value]),
  }
}

/** Host memory that keeping the image takes, bytes. */
export function imageBytes(image: Image): number {
  return image.runs.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

/**
 * Makes of an instance what the image is of; its memory must have the image's size.
 * @param before - What of the memory may not be zero: all of it, or these runs in ascending order.
 */
export function restore(
  image: Image,
  memory: WebAssembly.Memory,
  exports: WebAssembly.Exports,
  before: "anything" | readonly (readonly [at: number, end: number])[],
): void {
  const bytes = new Uint8Array(memory.buffer)
  if (before === "anything") {
    let end = 0
    for (const run of image.runs) {
      bytes.fill(0, end, run.at)
      bytes.set(run.bytes, run.at)
      end = run.at + run.bytes.length
    }
    bytes.fill(0, end)
  } else {
    for (const [at, end] of before) bytes.fill(0, at, end)
    for (const run of image.runs) bytes.set(run.bytes, run.at)
  }
  for (const [name, value] of image.globals) (exports[name] as WebAssembly.Global).value = value
}

/** @returns [begin, end) of what is not zero, in whole blocks. */
export function findRuns(bytes: Uint8Array): [at: number, end: number][] {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const runs: [number, number][] = []
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) {
    if (all.compare(ZEROS, 0, BLOCK_BYTES, at, at + BLOCK_BYTES) === 0) continue
    const last = runs.at(-1)
    if (last?.[1] === at) last[1] = at + BLOCK_BYTES
    else runs.push([at, at + BLOCK_BYTES])
  }
  return runs
}

const ZEROS = Buffer.alloc(BLOCK_BYTES)
