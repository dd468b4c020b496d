import { randomFillSync } from "node:crypto"
import { LAYOUT } from "./binary.ts"
import type { Machine } from "./machine.ts"

/** A machine's memory at rest: static data and heap. The C stack between them is empty then. */
export interface BaseImage {
  readonly data: Uint8Array
  readonly heap: Uint8Array
  /** Address of the state of Math.random in every machine (xorshift64*, 8 bytes). */
  readonly randomState: number
}

/** A guest's memory at rest, kept as its differences to the base image that all guests share. */
export interface Image {
  readonly base: BaseImage
  readonly patches: readonly Patch[]
  /** Everything from here up is zero. */
  readonly end: number
  /** Host memory the differences take. */
  readonly bytes: number
}

interface Patch {
  readonly at: number
  readonly bytes: Uint8Array
}

/** Takes the base image of a machine at rest. */
export function captureBase(machine: Machine, randomState: number): BaseImage {
  return {
    data: copy(machine, LAYOUT.dataStart, LAYOUT.dataEnd),
    heap: copy(machine, LAYOUT.heapStart, usedEnd(machine)),
    randomState,
  }
}

/** Takes the image of a machine at rest in which a guest was loaded. */
export function captureImage(machine: Machine, base: BaseImage): Image {
  const end = usedEnd(machine)
  const patches: Patch[] = []
  difference(machine, base.data, LAYOUT.dataStart, LAYOUT.dataEnd, patches)
  difference(machine, base.heap, LAYOUT.heapStart, end, patches)
  const bytes = patches.reduce((sum, patch) => sum + patch.bytes.length, 0)
  return { base, patches, end, bytes }
}

/**
 * Makes the machine's memory exactly what the image says, whatever ran in it before.
 * @param zeroPages - The C stack is zeroed downwards until this many pages in a row were zero already.
 */
export function restore(machine: Machine, image: Image, zeroPages: number): void {
  const { base, patches, end } = image
  const dirtyEnd = machine.heapEnd
  machine.bytes.set(base.data, LAYOUT.dataStart)
  machine.bytes.set(base.heap, LAYOUT.heapStart)
  for (const patch of patches) machine.bytes.set(patch.bytes, patch.at)
  if (dirtyEnd > end) machine.bytes.fill(0, end, dirtyEnd)
  machine.unwind()
  zeroStack(machine, zeroPages)
  reseed(machine, base.randomState)
}

/** The empty guest: nothing but the base. */
export function emptyImage(base: BaseImage): Image {
  return { base, patches: [], end: LAYOUT.heapStart + base.heap.length, bytes: 0 }
}

const PAGE = 4096
const ZEROS = new Uint8Array(PAGE)
/** C stack that most calls use; zeroed without looking. */
const USUAL_STACK = 16 * 1024
/** Differences closer together than this are kept as one. */
const GAP = 128

function copy(machine: Machine, from: number, to: number): Uint8Array {
  return Uint8Array.prototype.slice.call(machine.bytes, from, to)
}

/** End of the last 64 bytes of the heap that are not all zero. */
function usedEnd(machine: Machine): number {
  let at = machine.heapEnd >> 2
  while (machine.u32[at - 1] === 0) at--
  return Math.ceil((at * 4) / 64) * 64
}

function difference(machine: Machine, base: Uint8Array, from: number, to: number, patches: Patch[]): void {
  const now = machine.u32.subarray(from >> 2, to >> 2)
  const before = new Uint32Array(base.buffer, base.byteOffset, base.length >> 2)
  let start = -1
  let last = -1
  for (let i = 0; i < now.length; i++) {
    if (i < before.length && now[i] === before[i]) continue
    if (start !== -1 && i - last > GAP >> 2) {
      patches.push({ at: from + start * 4, bytes: copy(machine, from + start * 4, from + (last + 1) * 4) })
      start = -1
    }
    if (start === -1) start = i
    last = i
  }
  if (start !== -1)
    patches.push({ at: from + start * 4, bytes: copy(machine, from + start * 4, from + (last + 1) * 4) })
  // A guest that freed memory may end below the base: what is missing there has to become zero again.
  const missing = base.length - (to - from)
  if (missing > 0) patches.push({ at: to, bytes: new Uint8Array(missing) })
}

function zeroStack(machine: Machine, zeroPages: number): void {
  const { bytes } = machine
  let end: number = LAYOUT.heapStart - USUAL_STACK
  bytes.fill(0, end, LAYOUT.heapStart)
  for (let clean = 0; end > LAYOUT.dataEnd && clean < zeroPages; end -= PAGE) {
    const from = Math.max(end - PAGE, LAYOUT.dataEnd)
    if (bytes.compare(ZEROS, 0, end - from, from, end) === 0) clean++
    else {
      bytes.fill(0, from, end)
      clean = 0
    }
  }
}

/** Without this every copy of an image would draw the same numbers from Math.random. */
function reseed(machine: Machine, at: number): void {
  if (nextSeed === seeds.length) {
    randomFillSync(seeds)
    nextSeed = 0
  }
  machine.u32[at >> 2] = seeds[nextSeed++]! | 1
  machine.u32[(at >> 2) + 1] = seeds[nextSeed++]!
}

const seeds = new Uint32Array(1024)
let nextSeed = seeds.length
