import { isAscii } from "node:buffer"
import { realpathSync, type Stats, statSync } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import { LRUCache } from "lru-cache"
import { BextError } from "../errors.ts"
import { encodePath } from "../http/encode-path.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState } from "../message/request-context.ts"
import { type ByteRange, parseByteRange } from "./byte-range.ts"
import type { Handler } from "./handler.ts"
import { mimeType } from "./mime-type.ts"
import { absentOrThrow, type OpenFile, openInside } from "./open-inside.ts"
import { evaluatePreconditions, rangeStillApplies, type Validators } from "./preconditions.ts"

/** Files up to this size are read whole and kept in memory while they do not change. */
const SMALL_BYTES = 64 * 1024
const CACHE_BYTES = 32 * 1024 * 1024
/** Up to this size a file's content is kept as text as well. */
const TEXT_BYTES = 16 * 1024
/** What an entry costs besides its content, roughly. */
const ENTRY_BYTES = 1024

/**
 * A file changed this recently may change again without a visible difference in size or time, so its entity tag is weak
 * and its content is not kept. Source: RFC 9110 §8.8.1 and §8.8.2.2.
 */
const SETTLED_MS = 1_000

/** One state of one file, ready to be sent. */
interface Representation extends Validators {
  readonly size: number
  /** The header section of a 200, flat. */
  readonly headers: string[]
}

interface CachedFile {
  readonly stats: Stats
  readonly representation: Representation
  readonly content: Buffer
  /** The same, ready to be sent: as text when it is short and ASCII, which takes one write instead of two. */
  readonly body: string | Buffer
}

/**
 * Serves the files of one folder: GET and HEAD, index.html for folders, entity tags, preconditions and single ranges.
 * Names that start with a dot are not there (except under /.well-known/, RFC 8615), nor are special files and whatever
 * a symbolic link finds outside.
 * @param dir - The folder; must exist.
 * @param otherwise - Answers what is no file here, and other methods; without it that is 404 and 405.
 * @throws {BextError} `E_FILE_UNREADABLE` when the folder cannot be read.
 */
export function createStaticHandler(dir: string, otherwise?: Handler): Handler {
  return new StaticHandler(realFolder(dir), otherwise)
}

class StaticHandler implements Handler {
  readonly #root: string
  readonly #otherwise: Handler | undefined
  readonly #stats = new StatBatch()
  readonly #cache = new LRUCache<string, CachedFile>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ content, body }) => content.length + (body === content ? 0 : body.length) + ENTRY_BYTES,
  })

  constructor(root: string, otherwise: Handler | undefined) {
    this.#root = root
    this.#otherwise = otherwise
  }

  handle(context: RequestContext): ResponseState | Promise<ResponseState> {
    if (context.method !== "GET" && context.method !== "HEAD") return this.#wrongMethod(context)
    if (isHidden(context.path)) return this.#absent(context)
    const folder = context.path.endsWith("/")
    const file = this.#root + context.path + (folder ? "index.html" : "")
    const stats = this.#stats.get(file)
    if (stats?.isFile()) return this.#send(context, file, stats)
    if (!folder && stats?.isDirectory() && statOf(`${file}/index.html`)?.isFile()) return toFolder(context)
    return this.#absent(context)
  }

  async close(): Promise<void> {
    this.#cache.clear()
    await this.#otherwise?.close?.()
  }

  #wrongMethod(context: RequestContext): ResponseState | Promise<ResponseState> {
    if (this.#otherwise !== undefined) return this.#otherwise.handle(context)
    throw new BextError("E_METHOD_NOT_ALLOWED", `files take no ${context.method}`, {
      headers: [["Allow", "GET, HEAD"]],
    })
  }

  #absent(context: RequestContext): ResponseState | Promise<ResponseState> {
    if (this.#otherwise !== undefined) return this.#otherwise.handle(context)
    throw new BextError("E_NOT_FOUND", `no file ${context.path}`)
  }

  #send(context: RequestContext, file: string, stats: Stats): ResponseState | Promise<ResponseState> {
    const cached = this.#cache.get(file)
    // The same inode, unchanged, is known to lie inside the folder: nothing has to be opened.
    if (cached !== undefined && isSameState(cached.stats, stats)) {
      return toResponse(context, cached.representation, (range) => {
        return range === undefined ? cached.body : cached.content.subarray(range.first, range.last + 1)
      })
    }
    return this.#open(context, file)
  }

  async #open(context: RequestContext, file: string): Promise<ResponseState> {
    const opened = await openInside(this.#root, file)
    if (opened === undefined) return this.#absent(context)
    const representation = represent(file, opened.stats)
    if (opened.stats.size <= SMALL_BYTES) {
      const content = await readWhole(file, opened)
      if (!representation.etag.startsWith("W/")) {
        const body = content.length <= TEXT_BYTES && isAscii(content) ? content.toString("latin1") : content
        this.#cache.set(file, { stats: opened.stats, representation, content, body })
      }
      return toResponse(context, representation, (range) => {
        return range === undefined ? content : content.subarray(range.first, range.last + 1)
      })
    }
    let streams = false
    try {
      return toResponse(context, representation, (range) => {
        streams = true
        return streamOf(opened.handle, range ?? { first: 0, last: representation.size - 1 })
      })
    } finally {
      if (!streams) await opened.handle.close()
    }
  }
}

/** Dotfiles hold what nobody meant to publish: .git, .env, .htpasswd. */
function isHidden(path: string): boolean {
  const from = path.startsWith("/.well-known/") ? "/.well-known".length : 0
  return path.includes("/.", from)
}

/**
 * What files are like, asked once per turn of the event loop: the requests of one turn had all arrived when it began, so
 * none of them can know of a later change.
 */
class StatBatch {
  readonly #known = new Map<string, Stats | undefined>()

  get(file: string): Stats | undefined {
    const known = this.#known.get(file)
    if (known !== undefined || this.#known.has(file)) return known
    if (this.#known.size === 0) setImmediate(() => this.#known.clear())
    const stats = statOf(file)
    this.#known.set(file, stats)
    return stats
  }
}

/** Synchronous: metadata of a served folder is in memory nearly always, and a thread would cost ten times as much. */
function statOf(file: string): Stats | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false })
  } catch (error) {
    return absentOrThrow(error as NodeJS.ErrnoException, file)
  }
}

function isSameState(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs
}

function toFolder(context: RequestContext): ResponseState {
  const query = context.query === "" ? "" : `?${context.query}`
  const headers = HeaderList.from([["Location", `${encodePath(context.path)}/${query}`]])
  return { status: 301, headers, body: null }
}

function represent(file: string, stats: Stats): Representation {
  const nowMs = Date.now()
  const tag = `"${stats.size.toString(36)}-${Math.floor(stats.mtimeMs * 1000).toString(36)}"`
  const etag = nowMs - stats.mtimeMs > SETTLED_MS ? tag : `W/${tag}`
  const modifiedMs = Math.floor(Math.min(stats.mtimeMs, nowMs) / 1000) * 1000
  const headers = ["Content-Type", mimeType(file), "ETag", etag]
  headers.push("Last-Modified", new Date(modifiedMs).toUTCString(), "Accept-Ranges", "bytes")
  return { etag, modifiedMs, size: stats.size, headers }
}

function toResponse(
  context: RequestContext,
  representation: Representation,
  contentOf: (range: ByteRange | undefined) => ResponseState["body"],
): ResponseState {
  const { requestHeaders, method } = context
  switch (evaluatePreconditions(requestHeaders, representation)) {
    case "failed":
      throw new BextError("E_PRECONDITION_FAILED", `${context.path} is not in the state the client expects`)
    case "unchanged":
      return { status: 304, headers: HeaderList.borrow(representation.headers.slice(2)), body: null }
    case "send":
  }
  const headers = HeaderList.borrow(representation.headers)
  if (method === "HEAD") {
    headers.set("Content-Length", String(representation.size))
    return { status: 200, headers, body: null }
  }
  const range = rangeOf(requestHeaders, representation)
  const length = range === undefined ? representation.size : range.last - range.first + 1
  const body = contentOf(range)
  if (typeof body !== "string" && !(body instanceof Uint8Array)) headers.set("Content-Length", String(length))
  if (range === undefined) return { status: 200, headers, body }
  headers.set("Content-Range", `bytes ${range.first}-${range.last}/${representation.size}`)
  return { status: 206, headers, body }
}

function rangeOf(headers: HeaderList, representation: Representation): ByteRange | undefined {
  const header = headers.get("range")
  if (header === undefined || !rangeStillApplies(headers, representation)) return undefined
  const range = parseByteRange(header, representation.size)
  if (range !== "unsatisfiable") return range
  throw new BextError("E_RANGE_NOT_SATISFIABLE", "the range lies outside the file", {
    headers: [["Content-Range", `bytes */${representation.size}`]],
  })
}

/** Reads a small file and closes it. A file that changed meanwhile would be a mixture of two states. */
async function readWhole(file: string, { handle, stats }: OpenFile): Promise<Buffer> {
  try {
    const content = Buffer.allocUnsafeSlow(stats.size)
    const { bytesRead } = await handle.read(content, 0, stats.size, 0)
    if (bytesRead === stats.size && isSameState(await handle.stat(), stats)) return content
  } finally {
    await handle.close()
  }
  throw new BextError("E_OVERLOADED", `${file} is being written`, { headers: [["Retry-After", "1"]] })
}

/** Never more than was promised; less, when the file shrinks meanwhile, is for the writer to notice. */
function streamOf(handle: FileHandle, { first, last }: ByteRange) {
  return handle.createReadStream({ start: first, end: last })
}

function realFolder(dir: string): string {
  try {
    const root = realpathSync(dir)
    if (statSync(root).isDirectory()) return root
  } catch (cause) {
    throw new BextError("E_FILE_UNREADABLE", `cannot serve files from ${dir}`, { cause })
  }
  throw new BextError("E_FILE_UNREADABLE", `cannot serve files from ${dir}: it is not a folder`)
}
