import { createHash, createHmac, randomFillSync, randomUUID, timingSafeEqual } from "node:crypto"
import type { GuestFetchRequest, LogLevel } from "../../host/services.ts"
import type { Json, Side } from "../sandbox.ts"
import { GuestMistake } from "./guest-mistake.ts"
import type { Instance } from "./instance.ts"
import { librarySource } from "./library.ts"

/**
 * One operation the prelude may ask for. `at` is the address of its first argument, each further one 8 bytes on.
 * Arguments come from the prelude, never straight from guest code, and are checked all the same.
 * @returns the address of a new value, 0 for undefined.
 * @throws {BextError | GuestMistake | MessageTooLong} becomes an error in the guest; anything else ends the call.
 */
type Operation = (guest: Instance, at: number) => number

/** An operation that gives every guest the same for the same arguments. */
type PureOperation = (guest: Pick<Instance, "memory">, at: number) => number

const SIDES: readonly Side[] = ["request", "response"]
const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"]
const IDENTITY = ["user", "tenantId", "siteId"] as const
const NOTHING = 0
/** Characters of JSON. Everybody behind the plugin may have to copy it: to another guest, to a lane, into a header. */
const MAX_IDENTITY = 64 * 1024
/** What a push costs the thread behind the guest's back: its share of a transaction of many, and what is copied. */
const PUSH_MS = 0.05
const PUSH_CHARACTERS_A_MS = 1_000_000

/** Operations on the exchange of a call; the first argument is the call's id. */
const EXCHANGE = {
  requestHeader: (guest, at) => optionalText(guest, guest.exchange(at).header("request", guest.memory.text(at + 8))),
  responseHeader: (guest, at) => optionalText(guest, guest.exchange(at).header("response", guest.memory.text(at + 8))),
  headers: (guest, at) => text(guest, JSON.stringify(guest.exchange(at).headers(side(guest, at + 8)))),
  method: (guest, at) => text(guest, guest.exchange(at).method),
  path: (guest, at) => text(guest, guest.exchange(at).path),
  query: (guest, at) => text(guest, guest.exchange(at).query),
  scheme: (guest, at) => text(guest, guest.exchange(at).scheme),
  host: (guest, at) => text(guest, guest.exchange(at).host),
  hostname: (guest, at) => text(guest, guest.exchange(at).host.replace(/:\d*$/, "")),
  clientAddress: (guest, at) => text(guest, guest.exchange(at).clientAddress),
  requestId: (guest, at) => text(guest, guest.exchange(at).requestId),
  upgrade: (guest, at) => optionalText(guest, guest.exchange(at).upgrade ?? undefined),
  user: (guest, at) => text(guest, JSON.stringify(guest.exchange(at).user)),
  tenantId: (guest, at) => optionalText(guest, guest.exchange(at).tenantId ?? undefined),
  siteId: (guest, at) => optionalText(guest, guest.exchange(at).siteId ?? undefined),
  setHeader: (guest, at) => {
    guest.exchange(at).setHeader(side(guest, at + 8), guest.memory.text(at + 16), guest.memory.text(at + 24))
    return NOTHING
  },
  appendHeader: (guest, at) => {
    guest.exchange(at).appendHeader(side(guest, at + 8), guest.memory.text(at + 16), guest.memory.text(at + 24))
    return NOTHING
  },
  removeHeader: (guest, at) => {
    guest.exchange(at).removeHeader(side(guest, at + 8), guest.memory.text(at + 16))
    return NOTHING
  },
  setPath: (guest, at) => {
    guest.exchange(at).setPath(guest.memory.text(at + 8))
    return NOTHING
  },
  setQuery: (guest, at) => {
    guest.exchange(at).setQuery(guest.memory.text(at + 8))
    return NOTHING
  },
  setMethod: (guest, at) => {
    guest.exchange(at).setMethod(guest.memory.text(at + 8))
    return NOTHING
  },
  setIdentity: (guest, at) => {
    const field = oneOf(guest.memory.text(at + 8), IDENTITY, "setIdentity")
    const value = guest.memory.text(at + 16)
    if (value.length > MAX_IDENTITY) throw new GuestMistake(`setIdentity: more than ${MAX_IDENTITY} characters of JSON`)
    guest.exchange(at).setIdentity(field, json(value, "setIdentity"))
    return NOTHING
  },
  extension: (guest, at) => optionalText(guest, guest.exchange(at).extension(guest.memory.text(at + 8))),
  setExtension: (guest, at) => {
    guest.exchange(at).setExtension(guest.memory.text(at + 8), guest.memory.text(at + 16))
    return NOTHING
  },
  bodyText: (guest, at) => text(guest, decodeUtf8(guest.exchange(at).body(side(guest, at + 8)))),
  bodyBytes: (guest, at) => bytes(guest, guest.exchange(at).body(side(guest, at + 8))),
  setBody: (guest, at) => {
    guest.exchange(at).setBody(side(guest, at + 8), toBytes(guest.memory.textOrBytes(at + 16)))
    return NOTHING
  },
  status: (guest, at) => number(guest, guest.exchange(at).status),
  setStatus: (guest, at) => {
    guest.exchange(at).setStatus(guest.memory.number(at + 8))
    return NOTHING
  },
  respond: (guest, at) => {
    const headers = headerPairs(guest.memory.text(at + 16))
    const body = guest.memory.optionalTextOrBytes(at + 24)
    if (typeof body === "string" && !headers.some(([name]) => name.toLowerCase() === "content-type")) {
      headers.push(["content-type", "text/plain;charset=UTF-8"])
    }
    guest
      .exchange(at)
      .respond(guest.memory.number(at + 8), headers, body === undefined ? new Uint8Array(0) : toBytes(body))
    return NOTHING
  },
} as const satisfies Record<string, Operation>

/** The course of a call; the first argument is its id. */
const COURSE = {
  leader: (guest, at) => guest.memory.newNumber(guest.call(at).request.leader ? 1 : 0),
  settled: (guest, at) => {
    guest.settled(guest.call(at))
    return NOTHING
  },
  result: (guest, at) => {
    guest.call(at).result = json(guest.memory.text(at + 8), "result")
    return NOTHING
  },
  invalidResult: (guest, at) => {
    guest.fail(guest.call(at), "E_GUEST_RESULT_INVALID", guest.memory.text(at + 8))
    return NOTHING
  },
  threw: (guest, at) => {
    const [kind, serial] = [guest.memory.number(at + 8), guest.memory.number(at + 32)]
    guest.threw(guest.call(at), kind, guest.memory.text(at + 16), guest.memory.text(at + 24), serial)
    return NOTHING
  },
  waitBegin: (guest, at) => {
    guest.call(at).waits++
    return NOTHING
  },
  waitEnd: (guest, at) => {
    guest.waitEnded(guest.call(at))
    return NOTHING
  },
} as const satisfies Record<string, Operation>

/** Services, for the call that runs now. Functions that answer later take `resolve` and `reject` first. */
const SERVICES = {
  config: (guest) => guest.memory.newText(JSON.stringify(guest.setup.services.config)),
  secret: (guest, at) => text(guest, guest.setup.services.secret(guest.memory.text(at))),
  log: (guest, at) => {
    guest.setup.services.log(LEVELS[guest.memory.number(at)] ?? "info", guest.memory.text(at + 8))
    return NOTHING
  },
  metric: (guest, at) => {
    guest.setup.services.metric(guest.memory.text(at), guest.memory.number(at + 8), tags(guest.memory.text(at + 16)))
    return NOTHING
  },
  storageGet: (guest, at) => {
    const value = guest.storage.get(guest.memory.text(at))
    return typeof value === "object" ? bytes(guest, value) : optionalText(guest, value)
  },
  storageSet: (guest, at) => {
    guest.storage.set(guest.memory.text(at), guest.memory.textOrBytes(at + 8), guest.memory.number(at + 16))
    return NOTHING
  },
  storageDelete: (guest, at) => guest.memory.newNumber(guest.storage.delete(guest.memory.text(at)) ? 1 : 0),
  storageKeys: (guest, at) => {
    // Every key of the partition is looked at, for a handful of instructions.
    guest.interrupt()
    return text(guest, JSON.stringify(guest.storage.keys(guest.memory.text(at), guest.memory.number(at + 8))))
  },
  storageIncr: (guest, at) => {
    const done = guest.storage.incr(
      guest.memory.text(at + 16),
      guest.memory.number(at + 24),
      guest.memory.number(at + 32),
    )
    return guest.later("storage.incr", at, done, (value) => [number(guest, value)])
  },
  storageCas: (guest, at) => {
    const expected = guest.memory.optionalTextOrBytes(at + 24)
    const done = guest.storage.cas(
      guest.memory.text(at + 16),
      expected,
      guest.memory.textOrBytes(at + 32),
      guest.memory.number(at + 40),
    )
    return guest.later("storage.cas", at, done, (set) => [guest.memory.newNumber(set ? 1 : 0)])
  },
  storageFlush: (guest, at) => guest.later("storage.flush", at, guest.storage.flush(), () => []),
  queuePush: (guest, at) => {
    const queue = guest.memory.text(at + 16)
    const key = guest.memory.optionalTextOrBytes(at + 32) ?? null
    if (key !== null && typeof key !== "string") throw new GuestMistake("queue.push: a key is text")
    const message = { value: guest.memory.text(at + 24), key, delayMs: guest.memory.number(at + 40) }
    const done = guest.setup.services.push(queue, message, guest.tenant)
    const chargedMs = PUSH_MS + message.value.length / PUSH_CHARACTERS_A_MS
    return guest.later(`push to ${queue}`, at, done, (id) => [text(guest, id)], undefined, chargedMs)
  },
  fetch: (guest, at) => {
    const request = fetchRequest(guest, at + 16)
    const abort = new AbortController()
    const done = guest.setup.services.fetch(request, abort.signal)
    const arrived = (response: Awaited<typeof done>) => {
      const { url, status, headers, body } = response
      const meta = JSON.stringify({ url, status, headers, redirected: url !== request.url })
      return [text(guest, meta), bytes(guest, body)]
    }
    return guest.later(`fetch of ${request.url}`, at, done, arrived, () => abort.abort())
  },
  timer: (guest, at) => guest.timer(at, guest.memory.number(at + 8), guest.memory.number(at + 16) === 1),
  cancel: (guest, at) => {
    guest.cancel(guest.memory.number(at))
    return NOTHING
  },
  digest: (guest, at) => digested(guest, createHash("sha256").update(guest.memory.textOrBytes(at)), at + 8),
  hmac: (guest, at) => {
    const algorithm = oneOf(guest.memory.text(at), ["sha1", "sha256", "sha384", "sha512"], "hmac")
    return digested(
      guest,
      createHmac(algorithm, guest.memory.textOrBytes(at + 8)).update(guest.memory.textOrBytes(at + 16)),
      at + 24,
    )
  },
  timingSafeEqual: (guest, at) => {
    const [a, b] = [toBytes(guest.memory.textOrBytes(at)), toBytes(guest.memory.textOrBytes(at + 8))]
    return guest.memory.newNumber(a.length === b.length && timingSafeEqual(a, b) ? 1 : 0)
  },
  random: (guest, at) => {
    const size = guest.memory.number(at)
    if (!(size >= 0 && size <= 65_536)) throw new GuestMistake("getRandomValues: at most 65536 bytes")
    return bytes(guest, randomFillSync(new Uint8Array(size)))
  },
  randomUUID: (guest) => text(guest, randomUUID()),
  now: (guest) => number(guest, Math.floor(performance.now() + guest.setup.clockOffsetMs)),
} as const satisfies Record<string, Operation>

/** All that library files need while they are evaluated. */
const PURE = {
  utf8Encode: (guest, at) => bytes(guest, Buffer.from(guest.memory.text(at))),
  utf8Decode: (guest, at) => text(guest, Buffer.from(guest.memory.bytes(at)).toString("utf8")),
  library: (guest, at) => guest.memory.newText(librarySource(guest.memory.text(at))),
} as const satisfies Record<string, PureOperation>

const ALL: Readonly<Record<string, Operation>> = { ...EXCHANGE, ...COURSE, ...SERVICES, ...PURE }

/** The operations by code. */
export const OPERATIONS: readonly Operation[] = Object.values(ALL)

/** Name of an operation → its code, for the prelude. */
export const OP_CODES: Readonly<Record<string, number>> = Object.fromEntries(
  Object.keys(ALL).map((name, i) => [name, i]),
)

/** The pure operations by code. */
export const PURE_OPERATIONS: ReadonlyMap<number, PureOperation> = new Map(
  Object.entries(PURE).map(([name, operation]) => [OP_CODES[name]!, operation]),
)

function text(guest: Pick<Instance, "memory">, value: string): number {
  return guest.memory.newMessage(value)
}

function optionalText(guest: Instance, value: string | undefined): number {
  return value === undefined ? NOTHING : text(guest, value)
}

function bytes(guest: Pick<Instance, "memory">, value: Uint8Array): number {
  return guest.memory.newBytes(value)
}

function number(guest: Instance, value: number): number {
  return guest.memory.newNumber(value)
}

function side(guest: Instance, at: number): Side {
  const value = SIDES[guest.memory.number(at)]
  if (value === undefined) throw new GuestMistake("no such side")
  return value
}

function oneOf<const T extends string>(value: string, allowed: readonly T[], what: string): T {
  const found = allowed.find((name) => name === value)
  if (found === undefined) throw new GuestMistake(`${what}: expected one of ${allowed.join(", ")}`)
  return found
}

function json(value: string, what: string): Json {
  try {
    return JSON.parse(value)
  } catch {
    throw new GuestMistake(`${what}: expected JSON`)
  }
}

/** @param value - JSON list of pairs, "" for none. */
function headerPairs(value: string): [string, string][] {
  if (value === "") return []
  const pairs = json(value, "headers")
  const valid =
    Array.isArray(pairs) &&
    pairs.every(
      (pair) => Array.isArray(pair) && pair.length === 2 && typeof pair[0] === "string" && typeof pair[1] === "string",
    )
  if (!valid) throw new GuestMistake("headers: expected pairs of strings")
  return pairs as [string, string][]
}

/** Characters of JSON no valid set of tags reaches; far less work than a whole message. */
const MAX_TAGS = 16 * 1024

function tags(value: string): Record<string, string> {
  if (value.length > MAX_TAGS) throw new GuestMistake(`metric: tags of more than ${MAX_TAGS} characters`)
  const found = json(value, "metric")
  if (typeof found !== "object" || found === null || Array.isArray(found)) {
    throw new GuestMistake("metric: expected an object of tags")
  }
  return Object.fromEntries(Object.entries(found).map(([name, tag]) => [name, tagText(tag)]))
}

function tagText(tag: Json): string {
  if (typeof tag === "object" && tag !== null) throw new GuestMistake("metric: a tag is a text or a number")
  return String(tag)
}

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/

function fetchRequest(guest: Instance, at: number): GuestFetchRequest {
  const request = json(guest.memory.text(at), "fetch")
  const { url, method, redirect } = request as { url?: Json; method?: Json; redirect?: Json }
  if (typeof url !== "string" || typeof method !== "string" || typeof redirect !== "string") {
    throw new GuestMistake("bext.fetch: expected a URL")
  }
  if (!METHOD.test(method)) throw new GuestMistake("bext.fetch: invalid method")
  const content = guest.memory.optionalTextOrBytes(at + 16)
  return {
    url,
    method: method.toUpperCase(),
    headers: headerPairs(guest.memory.text(at + 8)),
    body: content === undefined ? null : toBytes(content),
    redirect: oneOf(redirect, ["follow", "manual", "error"], "bext.fetch redirect"),
  }
}

function digested(guest: Instance, hash: { digest(): Buffer }, encodingAt: number): number {
  const encoding = guest.memory.text(encodingAt)
  const digest = hash.digest()
  if (encoding === "") return bytes(guest, digest)
  return text(guest, digest.toString(oneOf(encoding, ["hex", "base64", "base64url"], "encoding")))
}

function toBytes(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? Buffer.from(value) : value
}

/** As the web does: invalid bytes become U+FFFD, a leading byte order mark goes. Source: WHATWG Encoding §6. */
function decodeUtf8(value: Uint8Array): string {
  return decoder.decode(value)
}

const decoder = new TextDecoder()
