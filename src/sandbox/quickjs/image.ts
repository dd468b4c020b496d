import { randomFillSync } from "node:crypto"
import { LAYOUT } from "./binary.ts"
import type { Machine } from "./machine.ts"

/**
 * A machine's memory at rest without a guest: static data and heap. The C stack between them is empty then. There is one
 * with the prelude, and one for each set of library files that guests begin with.
 */
export interface BaseImage {
  /** The part of the static data that the engine never writes to. */
  readonly constants: Uint8Array
  /** The part that it writes to. */
  readonly variables: Uint8Array
  readonly heap: Uint8Array
  /** Address of the state of Math.random in every machine (xorshift64*, 8 bytes). */
  readonly randomState: number
}

/** A guest's memory at rest, kept as its differences to a base image that guests share. */
export interface Image {
  readonly base: BaseImage
  /** Single words that differ: index, value, index, value, … */
  readonly words: Uint32Array
  /** Longer stretches that differ. */
  readonly patches: readonly Patch[]
  /** Everything from here up is zero. */
  readonly end: number
  /** How far the allocator believes its memory goes. */
  readonly heapEnd: number
  /** Host memory the differences take. */
  readonly bytes: number
}

interface Patch {
  readonly at: number
  readonly bytes: Uint8Array
}

/** Takes the base image of a machine at rest. */
export function captureBase(
  machine: Machine,
  randomState: number,
  constants: Uint8Array = copy(machine, LAYOUT.dataStart, LAYOUT.variablesStart),
): BaseImage {
  zeroFreeMemory(machine)
  return {
    constants,
    variables: copy(machine, LAYOUT.variablesStart, LAYOUT.dataEnd),
    heap: copy(machine, LAYOUT.heapStart, usedEnd(machine)),
    randomState,
  }
}

/** Takes the image of a machine at rest in which a guest was loaded. */
export function captureImage(machine: Machine, base: BaseImage): Image {
  zeroFreeMemory(machine)
  const end = Math.max(usedEnd(machine), baseEnd(base))
  const runs = [
    ...differences(machine, base.variables, LAYOUT.variablesStart, LAYOUT.dataEnd),
    ...differences(machine, base.heap, LAYOUT.heapStart, end),
  ]
  // A call per patch costs more than writing a few words one by one.
  const short = runs.filter((run) => run.to - run.from < SHORT_RUN)
  const words = wordsOf(machine, short)
  const patches = runs
    .filter((run) => run.to - run.from >= SHORT_RUN)
    .map(({ from, to }) => ({ at: from * 4, bytes: copy(machine, from * 4, to * 4) }))
  const bytes = patches.reduce((sum, patch) => sum + patch.bytes.length, words.byteLength)
  return { base, words, patches, end, heapEnd: machine.heapEnd, bytes }
}

/** What happened in a machine before its memory is written. */
export type Before =
  /** Nothing: it was just made, or wiped. Its stack is zero. */
  | "nothing"
  /** A call of the same guest ended in good order. It wrote no constants. */
  | "call"
  /** Another guest was in it, or its own was stopped in the middle, perhaps deep in native code. */
  | "anything"

/** Makes the machine's memory exactly what the image says. */
export function restore(machine: Machine, image: Image, before: Before): void {
  const { base, words, patches, end, heapEnd } = image
  const dirtyEnd = machine.heapEnd
  machine.reserve(Math.max(end, heapEnd))
  machine.refused = false
  if (before === "anything") machine.bytes.set(base.constants, LAYOUT.dataStart)
  machine.bytes.set(base.variables, LAYOUT.variablesStart)
  machine.bytes.set(base.heap, LAYOUT.heapStart)
  if (dirtyEnd > baseEnd(base)) machine.bytes.fill(0, baseEnd(base), dirtyEnd)
  for (let i = 0; i < words.length; i += 2) machine.u32[words[i]!] = words[i + 1]!
  for (const patch of patches) machine.bytes.set(patch.bytes, patch.at)
  machine.unwind()
  if (before === "call") zeroStack(machine, STACK_MARGIN)
  else if (before === "anything") zeroStack(machine, BROKEN_STACK_MARGIN)
  reseed(machine, base.randomState)
}

/** The empty guest: nothing but the base. */
export function emptyImage(base: BaseImage): Image {
  return { base, words: new Uint32Array(0), patches: [], end: baseEnd(base), heapEnd: 0, bytes: 0 }
}

function baseEnd(base: BaseImage): number {
  return LAYOUT.heapStart + base.heap.length
}

/** Bytes that are all zero below which the rest of the C stack is taken to be untouched. */
const STACK_MARGIN = 8 * 1024
/** The same after a guest was stopped in the middle, perhaps deep in native code. */
const BROKEN_STACK_MARGIN = 256 * 1024
const ZEROS = new Uint8Array(BROKEN_STACK_MARGIN)
/** C stack that most calls use; zeroed without looking. */
const USUAL_STACK = 16 * 1024
/** Words. Differences closer together than this are one run. */
const GAP = 16
/** Words. Shorter runs are written word by word. */
const SHORT_RUN = 32

/** A stretch of memory, in words of 4 bytes. */
interface Run {
  readonly from: number
  readonly to: number
}

/**
 * Zeroes what the allocator holds free, so that the leftovers of parsing do not become part of an image. Walks its
 * chunks: a head of 8 bytes whose second word is the size and two flags, then the next chunk; a free chunk keeps up to
 * 24 bytes of links behind its head. Source: Doug Lea's malloc 2.8.6, malloc.c, "Chunk representations".
 */
function zeroFreeMemory(machine: Machine): void {
  const end = machine.heapEnd
  for (let at: number = LAYOUT.heapStart; at < end; ) {
    const head = machine.u32[(at + 4) >> 2]!
    const size = head & ~7
    // The end mark of the heap.
    if (size === 0 || at + size >= end) return
    if ((head & CHUNK_IN_USE) === 0 && size > 32) machine.bytes.fill(0, at + 32, at + size)
    at += size
  }
}

const CHUNK_IN_USE = 2

function copy(machine: Machine, from: number, to: number): Uint8Array {
  return Uint8Array.prototype.slice.call(machine.bytes, from, to)
}

/** End of the last 64 bytes of the heap that are not all zero. */
function usedEnd(machine: Machine): number {
  let at = machine.heapEnd >> 2
  while (machine.u32[at - 1] === 0) at--
  return Math.ceil((at * 4) / 64) * 64
}

function differences(machine: Machine, base: Uint8Array, from: number, to: number): Run[] {
  const before = new Uint32Array(base.buffer, base.byteOffset, base.length >> 2)
  const now = machine.u32.subarray(from >> 2, to >> 2)
  const runs: Run[] = []
  const start = from >> 2
  let first = -1
  let last = -1
  for (let i = 0; i < now.length; i++) {
    if (now[i] === (i < before.length ? before[i] : 0)) continue
    if (first !== -1 && i - last > GAP) {
      runs.push({ from: start + first, to: start + last + 1 })
      first = -1
    }
    if (first === -1) first = i
    last = i
  }
  if (first !== -1) runs.push({ from: start + first, to: start + last + 1 })
  return runs
}

function wordsOf(machine: Machine, runs: readonly Run[]): Uint32Array {
  const words = new Uint32Array(runs.reduce((sum, { from, to }) => sum + 2 * (to - from), 0))
  let at = 0
  for (const { from, to } of runs) {
    for (let i = from; i < to; i++) {
      words[at++] = i
      words[at++] = machine.u32[i]!
    }
  }
  return words
}

function zeroStack(machine: Machine, margin: number): void {
  const { bytes } = machine
  let end: number = LAYOUT.heapStart - USUAL_STACK
  bytes.fill(0, end, LAYOUT.heapStart)
  while (end > LAYOUT.dataEnd) {
    const from = Math.max(end - margin, LAYOUT.dataEnd)
    if (bytes.compare(ZEROS, 0, end - from, from, end) === 0) return
    bytes.fill(0, from, end)
    end = from
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
