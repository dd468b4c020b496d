import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TestContext } from "node:test"
import type { RequestContext, ResponseState } from "../../src/message/request-context.ts"
import { createSessions } from "../../src/middleware/session.ts"
import { SessionRevocations } from "../../src/middleware/session-revocations.ts"
import type { Middleware } from "../../src/pipeline/middleware.ts"
import { openLmdbStore } from "../../src/state/lmdb-store.ts"
import type { KeyValueStore } from "../../src/state/state.ts"
import { createContext, middlewareConfig, type RequestInit, serve } from "./serve.ts"
import { NOW_MS } from "./tokens.ts"

export interface SiteOptions {
  /** Fields of [middleware.session]. */
  readonly session?: object
  readonly cors?: object
  readonly clock?: { ms: number }
  readonly state?: KeyValueStore
  /** More middleware, in front of or behind the session's. */
  readonly others?: readonly Middleware[]
  readonly warnings?: string[]
}

export interface Answer extends ResponseState {
  readonly code: string | null
  readonly context: RequestContext
  /** The values of Set-Cookie. */
  readonly cookies: readonly string[]
}

/** Sessions behind the real pipeline, in front of an app that answers 200 with the headers it is told. */
export class Site {
  readonly clock: { ms: number }
  readonly middlewares: readonly [Middleware, Middleware]
  readonly revocations: SessionRevocations
  readonly #wrap: ReturnType<typeof createSessions>["wrap"]
  readonly #others: readonly Middleware[]

  static async open(t: TestContext, options: SiteOptions = {}): Promise<Site> {
    const clock = options.clock ?? { ms: NOW_MS }
    const state = options.state ?? openState(t)
    const revocations = await SessionRevocations.open(state, () => clock.ms)
    t.after(() => revocations[Symbol.dispose]())
    return new Site(clock, revocations, options)
  }

  private constructor(clock: { ms: number }, revocations: SessionRevocations, options: SiteOptions) {
    const session = { secrets: ["env:SESSION_KEY"], login_paths: ["/login", "/logout"], ...options.session }
    const { cors, session: config } = middlewareConfig({ session, ...(options.cors && { cors: options.cors }) })
    const warn = (message: string) => void (options.warnings ?? []).push(message)
    const sessions = createSessions(config!, cors, { revocations, warn, now: () => clock.ms })
    this.clock = clock
    this.revocations = revocations
    this.middlewares = sessions.middlewares
    this.#wrap = sessions.wrap
    this.#others = options.others ?? []
  }

  /** @param app - Headers of the app's answer. */
  async request(init: RequestInit, app: readonly (readonly [string, string])[] = []): Promise<Answer> {
    const context = createContext(init)
    const middlewares = [...this.middlewares, ...this.#others]
    const response = await serve(middlewares, context, { appHeaders: app, wrap: this.#wrap })
    return { ...response, context, cookies: response.headers.getAll("set-cookie") }
  }

  /** Logs in. @returns the cookie as a client sends it, "name=value". */
  async login(user: object = { id: "ada" }, cookie?: string): Promise<string> {
    const headers: [string, string][] = cookie === undefined ? [] : [["Cookie", cookie]]
    const answer = await this.command(JSON.stringify(user), headers)
    if (answer.cookies.length !== 1) throw new TypeError(`${answer.code}: ${answer.cookies.length} cookies`)
    return answer.cookies[0]!.split(";")[0]!
  }

  /** What the app says of the session on a login path. */
  command(value: string, headers: readonly (readonly [string, string])[] = []): Promise<Answer> {
    return this.request({ method: "POST", path: "/login", headers }, [["X-Bext-Session", value]])
  }

  /** The user's id a request with this cookie has, "anonymous" without one. */
  async whoIs(cookie: string, init: RequestInit = {}): Promise<string> {
    const headers = [...(init.headers ?? []), ["Cookie", cookie] as const]
    const { context, code } = await this.request({ ...init, headers })
    return code ?? context.user?.id ?? "anonymous"
  }
}

export function openState(t: TestContext): KeyValueStore {
  const dir = mkdtempSync(join(tmpdir(), "bext-session-"))
  const state = openLmdbStore({ dir, log: { error() {} } })
  t.after(async () => {
    await state[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true })
  })
  return state
}
