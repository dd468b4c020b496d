import type { ServerResponse } from "node:http"
import type { Control } from "./control.ts"

/** An empty line this often tells both sides that the other is there. */
const BEAT_MS = 15_000

/** A reader that takes nothing for so long is cut off. */
const STUCK_MS = 60_000

/** What may wait for a reader; further lines are lost to it. */
const MAX_WAITING_BYTES = 256 * 1024

/**
 * Sends the last `count` lines and then every further one until the reader goes away. A reader that is too slow loses
 * lines, and finds `{"lost": N}` in their place; it never delays who logs.
 */
export async function followLog(control: Control, outgoing: ServerResponse, count: number): Promise<void> {
  let lost = 0
  let stuck: NodeJS.Timeout | undefined
  // Followed before the tail is read, so that nothing falls between the two.
  let early: string[] | null = []
  const stop = control.followLog((line) => {
    if (early === null) send(line)
    else if (early.length < MAX_EARLY) early.push(line)
    else lost++
  })
  const beat = setInterval(() => {
    if (stuck === undefined) write("\n")
  }, BEAT_MS).unref()
  outgoing.once("close", () => {
    stop()
    clearInterval(beat)
    clearTimeout(stuck)
  })
  outgoing.on("drain", () => {
    clearTimeout(stuck)
    stuck = undefined
    reportLost()
  })

  outgoing.flushHeaders()
  const tail = await control.logTail(count)
  for (const line of tail) write(`${line}\n`)
  const known = new Set(tail)
  for (const line of early) if (!known.has(line)) send(line)
  early = null
  if (stuck === undefined) reportLost()

  function send(line: string): void {
    if (outgoing.destroyed) return
    // Once one is lost, all are until the reader has caught up: the note stands where they are missing.
    if (lost > 0 || outgoing.writableLength > MAX_WAITING_BYTES) lost++
    else write(`${line}\n`)
  }

  function reportLost(): void {
    if (lost === 0) return
    const count = lost
    lost = 0
    write(`${JSON.stringify({ lost: count })}\n`)
  }

  function write(text: string): void {
    if (!outgoing.write(text)) stuck ??= setTimeout(() => outgoing.destroy(), STUCK_MS).unref()
  }
}

/** Lines that may arrive while the tail is read. */
const MAX_EARLY = 1000
