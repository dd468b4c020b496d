import { Readable } from "node:stream"
import { LRUCache } from "lru-cache"
import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import type { Handler } from "../handlers/handler.ts"
import { compileGlob } from "../host/glob.ts"
import type { HeaderList } from "../message/header-list.ts"
import { randomHex } from "../message/random-hex.ts"
import type { RequestContext, ResponseState } from "../message/request-context.ts"
import type { Middleware } from "../pipeline/middleware.ts"
import { deepFreeze } from "./deep-freeze.ts"
import { cookieToken } from "./find-token.ts"
import { createOriginMatcher } from "./origin-matcher.ts"
import { createSameOriginCheck, isSafe } from "./same-origin.ts"
import { COMMAND_HEADER, parseSessionCommand, type SessionCommand } from "./session-command.ts"
import { SessionCookie } from "./session-cookie.ts"
import type { SessionRevocations } from "./session-revocations.ts"
import { type SealableSession, type Session, SessionSeal } from "./session-seal.ts"

export type SessionConfig = NonNullable<Config["middleware"]["session"]>

export interface SessionDeps {
  readonly revocations: SessionRevocations
  readonly warn: (message: string) => void
  /** Epoch milliseconds; the system's clock by default. */
  readonly now?: () => number
}

export interface Sessions {
  /** The first takes the cookie out of the request and writes that of the response, the second finds out what it says. */
  readonly middlewares: readonly [Middleware, Middleware]
  /**
   * Puts the app's word on sessions into effect and takes it out of the response. Goes around whatever answers requests and
   * sees the response before anything else does, so that neither a plugin nor a cache ever has that header.
   */
  wrap(handler: Handler): Handler
}

/** An opened cookie, shared by the requests that carry it. */
interface Opened {
  readonly session: Session
  /** What it was sealed anew as, for requests that arrive before the client knows. */
  successor: { readonly setCookie: string; readonly sealedMs: number } | null
}

/** One request that carries a session cookie, or begins or ends a session. */
interface Visit {
  /** The cookie's value; null when there was none. */
  readonly text: string | null
  /** Set when the cookie authenticated the request. */
  opened: Opened | null
  /** The cookie is of no use any more. */
  stale: boolean
  /** Set-Cookie that the app's word led to. */
  setCookie: string | null
}

/** Characters of remembered cookies, each counted with what its claims and its entry take beside it. */
const MAX_REMEMBERED = 16 * 1024 * 1024
const ENTRY_SIZE = 1_024
const PRIVATE = /(^|,)\s*(private|no-store)\s*(,|$)/i
const PUBLIC = /(^|,)\s*(public|s-maxage)\b/i
const TARGETED = /(?:-cache|surrogate)-control$/i
/** Part of `idle` after which a cookie is sealed anew. */
const RENEW_AFTER = 1 / 4

/**
 * Sessions in sealed cookies. The app begins one by answering a request on one of `login_paths` with the header
 * x-bext-session, and ends it in the same way; the cookie then says on every request who the user is.
 *
 * - A bearer token, and a token in the cookie of [middleware.auth], win.
 * - A cookie that is not valid, has expired or was revoked counts as none and is cleared; so do several that differ, but
 *   those are left alone: with ours removed, the one that somebody planted would be the only one.
 * - A request from a page of another origin is not authenticated; see `createSameOriginCheck`.
 * - A cookie that was opened is remembered and then costs a lookup.
 * @throws {BextError} `E_CONFIG_INVALID`.
 */
export function createSessions(
  config: SessionConfig,
  cors: Config["middleware"]["cors"],
  { revocations, warn, now = Date.now }: SessionDeps,
): Sessions {
  const cookie = new SessionCookie(config)
  const seal = new SessionSeal(
    config.secrets.map((secret) => ({ name: String(secret), value: secret.reveal() })),
    cookie.name,
  )
  const isFromHere = createSameOriginCheck({
    https: config.secure,
    allowed: createOriginMatcher(cors?.credentials ? cors.origins : []),
    silent: config.same_site !== "none",
  })
  const loginPaths = config.login_paths.map((glob) => compileGlob(glob))
  const visits = new WeakMap<RequestContext, Visit>()
  const remembered = new LRUCache<string, Opened>({
    maxSize: MAX_REMEMBERED,
    sizeCalculation: (_, text) => text.length + ENTRY_SIZE,
  })
  let warned = false

  return {
    middlewares: [
      // In front of everything, and behind everything on the way back: who answers before authentication, and whose
      // on_response then runs, must not see it either, nor have the last word on where it may be kept.
      { name: "session-cookie", priority: 0, kind: "built-in", onRequest: takeCookie, onResponse: writeCookie },
      { name: "session", priority: 300, kind: "built-in", onRequest: authenticate },
    ],

    wrap: (handler) => ({
      handle(context) {
        const isLogin = loginPaths.some((matches) => matches(context.path))
        if (isLogin && !isSafe(context) && !isFromHere(context)) {
          throw new BextError("E_CORS_ORIGIN", "a page of another origin may not begin or end a session")
        }
        if (context.method !== context.clientMethod && visits.get(context)?.opened && !isFromHere(context)) {
          throw new BextError(
            "E_CORS_ORIGIN",
            "a plugin made more of a request than a page of another origin may ask for",
          )
        }
        const response = handler.handle(context)
        if (response instanceof Promise) return response.then((answer) => obey(context, answer, isLogin))
        return obey(context, response, isLogin)
      },
      async close() {
        await handler.close?.()
      },
    }),
  }

  function takeCookie(context: RequestContext): void {
    const { requestHeaders } = context
    const cookies = requestHeaders.get("cookie")
    if (cookies === undefined || !cookies.includes(cookie.name)) return
    const text = cookieToken(requestHeaders, cookie.name)
    cookie.removeFromRequest(requestHeaders)
    if (text !== null) visits.set(context, { text, opened: null, stale: false, setCookie: null })
  }

  function authenticate(context: RequestContext): void | Promise<void> {
    const visit = visits.get(context)
    if (visit === undefined || context.user !== null || !isFromHere(context)) return
    return identify(context, visit, visit.text!)
  }

  function writeCookie(context: RequestContext): void | Promise<void> {
    const headers = context.response?.headers
    if (headers === undefined) return
    cookie.removeFromResponse(headers)
    const visit = visits.get(context)
    if (visit === undefined) return
    if (visit.setCookie !== null) {
      setCookie(headers, visit.setCookie)
      forbidStoring(headers)
    } else if (visit.stale) {
      if (keepPrivate(headers)) setCookie(headers, cookie.clear())
    } else if (visit.opened !== null) {
      return renew(headers, visit.opened)
    }
  }

  function identify(context: RequestContext, visit: Visit, text: string): void | Promise<void> {
    const known = remembered.get(text)
    if (known !== undefined) {
      accept(context, visit, known)
      return
    }
    const opening = text.length > cookie.maxValue ? null : seal.open(text)
    if (opening === null) {
      visit.stale = true
      return
    }
    return opening.then((session) => {
      if (session === null) {
        visit.stale = true
        return
      }
      const opened = { session, successor: null }
      remembered.set(text, opened)
      accept(context, visit, opened)
    })
  }

  function accept(context: RequestContext, visit: Visit, opened: Opened): void {
    if (isOver(opened.session) || !isOn(opened.session, context)) {
      visit.stale = true
      return
    }
    visit.opened = opened
    context.user = opened.session.user
  }

  /** Browsers keep a cookie without domain to its host; who copies it by hand to another tenant's gains nothing. */
  function isOn({ host }: Session, { hostname }: RequestContext): boolean {
    return host === "" || host === hostname
  }

  /** A time in the future is no time of ours: nobody can tell how old such a session is. */
  function isOver(session: Session): boolean {
    const nowMs = now()
    const future = Math.max(session.begunMs, session.renewedMs) > nowMs + config.leeway
    return future || endOf(session) + config.leeway <= nowMs || revocations.isRevoked(session)
  }

  /** Epoch milliseconds. A configuration that grew stricter holds for sessions that have begun, too. */
  function endOf({ begunMs, untilMs, renewedMs }: SealableSession): number {
    return Math.min(untilMs, begunMs + config.absolute, renewedMs + config.idle)
  }

  function renew(headers: HeaderList, opened: Opened): void | Promise<void> {
    const { session, successor } = opened
    const nowMs = now()
    if (nowMs - session.renewedMs < config.idle * RENEW_AFTER) return
    // It may have ended while the request was under way.
    if (revocations.isRevoked(session) || !keepPrivate(headers)) return
    if (successor !== null && nowMs - successor.sealedMs < config.idle * RENEW_AFTER) {
      setCookie(headers, successor.setCookie)
      return
    }
    return write({ ...session, renewedMs: nowMs }).then((text) => {
      opened.successor = { setCookie: text, sealedMs: nowMs }
      setCookie(headers, text)
    })
  }

  function obey(
    context: RequestContext,
    response: ResponseState,
    isLogin: boolean,
  ): ResponseState | Promise<ResponseState> {
    if (!response.headers.has(COMMAND_HEADER)) return response
    const values = response.headers.getAll(COMMAND_HEADER)
    response.headers.delete(COMMAND_HEADER)
    if (isLogin) return carryOut(context, response, values)
    if (!warned) {
      warned = true
      const path = JSON.stringify(context.path.slice(0, 200))
      warn(`${COMMAND_HEADER} from ${path}, which is none of middleware.session.login_paths: ignored, here and later`)
    }
    return response
  }

  async function carryOut(
    context: RequestContext,
    response: ResponseState,
    values: readonly string[],
  ): Promise<ResponseState> {
    try {
      const command = parseSessionCommand(values)
      const visit = visits.get(context) ?? { text: null, opened: null, stale: false, setCookie: null }
      visits.set(context, visit)
      if (command.kind === "end") visit.setCookie = cookie.clear()
      const begun = command.kind === "begin" ? await begin(command, context.hostname) : null
      // Also when another one begins: what was known of the old one, perhaps to somebody else, is worth nothing then.
      await end(visit)
      if (command.kind === "end" && command.all) await endAll(context)
      if (begun !== null) visit.setCookie = begun
      return response
    } catch (error) {
      if (response.body instanceof Readable) response.body.destroy()
      throw error
    }
  }

  /** The id is always new, whatever the request carried, so nobody can know it beforehand. */
  function begin({ id, claims }: Extract<SessionCommand, { kind: "begin" }>, hostname: string): Promise<string> {
    const nowMs = now()
    const user = Object.freeze({ id, claims: deepFreeze(claims) })
    const times = { begunMs: nowMs, untilMs: nowMs + config.absolute, renewedMs: nowMs }
    return write({ id: randomHex(32), user, host: hostOf(hostname), ...times })
  }

  async function end({ text, opened }: Visit): Promise<void> {
    const session = opened?.session ?? (text === null ? null : await seal.open(text))
    if (session === null || endOf(session) + config.leeway <= now()) return
    await revocations.revokeSession(session.id, session.untilMs + config.leeway)
  }

  /** Of the user this request is authenticated as, on this host: another tenant may have a user of the same id. */
  async function endAll({ user, hostname }: RequestContext): Promise<void> {
    if (user !== null) await revocations.revokeUser(user.id, { host: hostOf(hostname) })
  }

  function hostOf(hostname: string): string {
    return config.domain === undefined ? hostname : ""
  }

  async function write(session: SealableSession): Promise<string> {
    const text = await seal.seal(session)
    if (text.length > cookie.maxValue) {
      const what = `sealed, the session takes ${text.length} characters, a cookie holds ${cookie.maxValue}`
      throw new BextError("E_SESSION_INVALID", `${what}; make the claims shorter`)
    }
    return cookie.write(text, endOf(session) - session.renewedMs)
  }
}

function setCookie(headers: HeaderList, value: string): void {
  headers.append("Set-Cookie", value)
}

/** No cache may give one client's cookie to another. Source: RFC 9111 §5.2.2, RFC 9213. */
function forbidStoring(headers: HeaderList): void {
  const said = headers.get("cache-control")
  if (said === undefined || !PRIVATE.test(said)) headers.set("Cache-Control", "no-store")
  for (const name of targetedFields(headers)) headers.delete(name)
}

/**
 * Keeps a response that will carry a cookie out of shared caches.
 * @returns false when the app wants it in there; it then goes without the cookie, which the next response has.
 */
function keepPrivate(headers: HeaderList): boolean {
  if (targetedFields(headers).length > 0) return false
  const said = headers.get("cache-control")
  if (said === undefined) {
    headers.set("Cache-Control", "private")
    return true
  }
  if (PRIVATE.test(said)) return true
  if (PUBLIC.test(said)) return false
  headers.set("Cache-Control", `${said}, private`)
  return true
}

/** Cache-Control for certain caches, which these then obey instead of the plain one: CDN-Cache-Control and its like. */
function targetedFields(headers: HeaderList): string[] {
  return Array.from(headers, ([name]) => name).filter((name) => TARGETED.test(name))
}
