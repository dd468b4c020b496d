import type { Guest } from "../abi.ts"
import { clockNanoseconds } from "./clocks.ts"
import { ERRNO } from "./errno.ts"

const SUBSCRIPTION_BYTES = 48
const EVENT_BYTES = 32
const MAX_SUBSCRIPTIONS = 1024

const CLOCK = 0
const READ = 1
const WRITE = 2
const ABSOLUTE = 1
const HANGUP = 1

/** One event: what happened to the subscription with the same `userdata`. */
interface PollEvent {
  readonly userdata: bigint
  readonly type: number
  readonly errno: number
  readonly readyBytes: bigint
  readonly flags: number
}

/**
 * `poll_oneoff`, without waiting: nothing sleeps on the thread that serves. What is ready is reported; when only clocks
 * remain that are not due, each of them is reported with the error ENOTSUP. C libraries pass that on, Rust's `sleep`
 * panics, and Go, which asks again until the time has come, spends the call's CPU budget on it.
 */
export function poll(guest: Guest, subscriptions: number, events: number, count: number, written: number): number {
  guest.charge(20)
  if (count === 0 || count > MAX_SUBSCRIPTIONS) return ERRNO.INVAL
  guest.charge(10 * count)
  const { memory } = guest
  // A copy: the guest may have its events written over its subscriptions.
  const bytes = memory.bytes(subscriptions, SUBSCRIPTION_BYTES * count)
  const input = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const ready: PollEvent[] = []
  const later: PollEvent[] = []
  for (let i = 0; i < count; i++) {
    const at = SUBSCRIPTION_BYTES * i
    const type = input.getUint8(at + 8)
    if (type !== CLOCK && type !== READ && type !== WRITE) return ERRNO.INVAL
    const event = type === CLOCK ? clockEvent(guest, input, at) : descriptorEvent(input, at, type)
    if (event.errno === ERRNO.NOTSUP) later.push(event)
    else ready.push(event)
  }
  const reported = ready.length > 0 ? ready : later
  memory.write(events, encode(reported))
  memory.writeU32(written, reported.length)
  return ERRNO.SUCCESS
}

function clockEvent(guest: Guest, input: DataView, at: number): PollEvent {
  const event = { userdata: input.getBigUint64(at, true), type: CLOCK, readyBytes: 0n, flags: 0 }
  const timeout = input.getBigUint64(at + 24, true)
  const now = clockNanoseconds(guest, input.getUint32(at + 16, true))
  if (now === null) return { ...event, errno: ERRNO.INVAL }
  const due = (input.getUint16(at + 40, true) & ABSOLUTE) === 0 ? timeout === 0n : timeout <= now
  return { ...event, errno: due ? ERRNO.SUCCESS : ERRNO.NOTSUP }
}

/** Standard input is at its end, output always takes more. */
function descriptorEvent(input: DataView, at: number, type: number): PollEvent {
  const event = { userdata: input.getBigUint64(at, true), type }
  const descriptor = input.getUint32(at + 16, true)
  if (type === READ && descriptor === 0) return { ...event, errno: ERRNO.SUCCESS, readyBytes: 0n, flags: HANGUP }
  if (type === WRITE && (descriptor === 1 || descriptor === 2)) {
    return { ...event, errno: ERRNO.SUCCESS, readyBytes: 65_536n, flags: 0 }
  }
  return { ...event, errno: ERRNO.BADF, readyBytes: 0n, flags: 0 }
}

function encode(events: readonly PollEvent[]): Uint8Array {
  const output = new DataView(new ArrayBuffer(EVENT_BYTES * events.length))
  for (const [i, event] of events.entries()) {
    const at = EVENT_BYTES * i
    output.setBigUint64(at, event.userdata, true)
    output.setUint16(at + 8, event.errno, true)
    output.setUint8(at + 10, event.type)
    output.setBigUint64(at + 16, event.readyBytes, true)
    output.setUint16(at + 24, event.flags, true)
  }
  return new Uint8Array(output.buffer)
}
