import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http"
import { request as httpsRequest } from "node:https"
import { createInterface } from "node:readline"
import { shortSocketPath } from "../admin/short-socket-path.ts"
import { shortName } from "../config/config-error.ts"
import { BextError, ERRORS, type ErrorCode } from "../errors.ts"
import type { AdminTarget } from "./admin-target.ts"

/** Most of an answer that is read. */
const MAX_BYTES = 64 * 1024 * 1024

/** An answer that takes longer never comes; loading plugins may take minutes. */
const TIMEOUT_MS = { GET: 30_000, POST: 5 * 60_000 } as const

/** A command's way to a running server. All failures are a `BextError`: `E_ADMIN_UNREACHABLE`, or what the server says. */
export class AdminClient {
  readonly #target: AdminTarget

  constructor(target: AdminTarget) {
    this.#target = target
  }

  async get<T>(path: string): Promise<T> {
    return (await this.#json("GET", path, undefined)) as T
  }

  async post<T>(path: string, body: object): Promise<T> {
    return (await this.#json("POST", path, JSON.stringify(body))) as T
  }

  /** Lines as they come, until the server ends them. */
  async *lines(path: string): AsyncGenerator<string, void> {
    const incoming = await this.#send("GET", path, undefined, () => {})
    if (incoming.statusCode !== 200) throw await this.#toError(incoming)
    for await (const line of createInterface({ input: incoming })) if (line !== "") yield line
  }

  async #json(method: "GET" | "POST", path: string, body: string | undefined): Promise<unknown> {
    const incoming = await this.#send(method, path, body, (outgoing) => {
      outgoing.setTimeout(TIMEOUT_MS[method], () => outgoing.destroy(new Error("no answer in time")))
    })
    // A server in trouble describes its health with a 503.
    if (incoming.statusCode !== 200) throw await this.#toError(incoming)
    return this.#parse(await readText(incoming))
  }

  #send(
    method: string,
    path: string,
    body: string | undefined,
    prepare: (outgoing: ClientRequest) => void,
  ): Promise<IncomingMessage> {
    const { where, token } = this.#target
    const headers = {
      ...("socketPath" in where && { host: "bext" }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
    }
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => reject(this.#unreachable(error))
      try {
        const socket = "socketPath" in where ? shortSocketPath(where.socketPath) : undefined
        const options = { method, headers, agent: false }
        const outgoing =
          "url" in where
            ? (where.url.protocol === "https:" ? httpsRequest : httpRequest)(new URL(path, where.url), options, resolve)
            : httpRequest({ ...options, socketPath: socket!.path, path, setHost: false }, resolve)
        outgoing.on("error", fail)
        outgoing.on("close", () => socket?.[Symbol.dispose]())
        prepare(outgoing)
        outgoing.end(body)
      } catch (error) {
        fail(error)
      }
    })
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text)
    } catch {
      throw new BextError("E_ADMIN_UNREACHABLE", `what answers at ${this.#name} is not the admin listener of bext`)
    }
  }

  async #toError(incoming: IncomingMessage): Promise<BextError> {
    const problem = this.#parse(await readText(incoming))
    const { code, detail } = (typeof problem === "object" && problem !== null ? problem : {}) as Record<string, unknown>
    if (typeof code !== "string" || !Object.hasOwn(ERRORS, code) || typeof detail !== "string") {
      const what = `what answers at ${this.#name} is not the admin listener of this version of bext`
      return new BextError("E_ADMIN_UNREACHABLE", `${what} (status ${incoming.statusCode})`)
    }
    return new BextError(code as ErrorCode, detail)
  }

  #unreachable(error: unknown): BextError {
    const { code, message } = error as NodeJS.ErrnoException
    if (error instanceof BextError) return error
    const { from } = this.#target
    const whose = from === undefined ? "" : `, where ${shortName(from)} says it is`
    const reason =
      code === "ENOENT" || code === "ECONNREFUSED"
        ? "no server is running there"
        : code === "EACCES"
          ? "it belongs to another user; run this as the user that runs the server"
          : message
    return new BextError("E_ADMIN_UNREACHABLE", `cannot ask the server at ${this.#name}${whose}: ${reason}`)
  }

  get #name(): string {
    const { where } = this.#target
    return "url" in where ? where.url.origin : where.socketPath
  }
}

async function readText(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new BextError("E_ADMIN_UNREACHABLE", "the answer is too large")
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
