import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { compileGlob } from "../host/glob.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState } from "../message/request-context.ts"
import type { Handler } from "./handler.ts"
import { createStaticHandler } from "./static-files.ts"
import { createUpstreamHandler } from "./upstream.ts"
import { checkWebsocketOrigin } from "./websocket-origin.ts"

interface Route {
  readonly glob: string
  readonly matches: (path: string) => boolean
  readonly handler: Handler
}

/**
 * Sends each request to the first of `[[routes]]`, in file order, whose glob matches its path, otherwise to `[app]`:
 * files first when it has both a folder and an upstream, `E_NOT_FOUND` when it has neither.
 * Folders are taken as they stand in `config`: absolute, or relative to the working directory.
 * @param createUpstream - Whose handlers the caller owns, when it is not the default; `close` is for the default's.
 * @param allowsOrigin - Which pages of other origins may open websockets.
 * @throws {BextError} `E_FILE_UNREADABLE`, `E_CONFIG_INVALID`.
 */
export function createRouter(
  config: Pick<Config, "routes" | "app">,
  createUpstream: typeof createUpstreamHandler = createUpstreamHandler,
  allowsOrigin: (origin: string) => boolean = () => false,
): Handler {
  const shared = { forwardExtensions: config.app.forward_extensions, createUpstream, allowsOrigin }
  return new Router(
    config.routes.map((row) => ({
      glob: row.path,
      matches: compileGlob(row.path),
      handler: createHandler(row, shared),
    })),
    createHandler(config.app, shared),
  )
}

/** What all routes have in common. */
interface Shared {
  readonly forwardExtensions: readonly string[]
  readonly createUpstream: typeof createUpstreamHandler
  readonly allowsOrigin: (origin: string) => boolean
}

class Router implements Handler {
  readonly #routes: readonly Route[]
  readonly #app: Handler

  constructor(routes: readonly Route[], app: Handler) {
    this.#routes = routes
    this.#app = app
  }

  handle(context: RequestContext): ResponseState | Promise<ResponseState> {
    const { path } = context
    // OPTIONS on the server itself, which has nothing to say beyond being there. Source: RFC 9110 §9.3.7.
    if (path === "*") return { status: 204, headers: HeaderList.empty(), body: null }
    for (const route of this.#routes) {
      if (!route.matches(path)) continue
      context.trace?.routed(route.glob)
      return route.handler.handle(context)
    }
    return this.#app.handle(context)
  }

  async close(): Promise<void> {
    await Promise.all([this.#app, ...this.#routes.map((route) => route.handler)].map((handler) => handler.close?.()))
  }
}

function createHandler(
  row: {
    static?: string | undefined
    upstream?: string | undefined
    upstream_timeout: number
    forward_user: boolean
    websockets: boolean
  },
  { forwardExtensions, createUpstream, allowsOrigin }: Shared,
): Handler {
  const upstream =
    row.upstream === undefined
      ? undefined
      : createUpstream(row.upstream, {
          timeoutMs: row.upstream_timeout,
          forwardExtensions,
          forwardUser: row.forward_user,
          websockets: row.websockets,
        })
  const guarded = upstream !== undefined && row.websockets ? guardWebsockets(upstream, allowsOrigin) : upstream
  if (row.static !== undefined) return createStaticHandler(row.static, guarded)
  return guarded ?? nothing
}

function guardWebsockets(handler: Handler, allowsOrigin: (origin: string) => boolean): Handler {
  return {
    handle(context) {
      if (context.upgrade) checkWebsocketOrigin(context, allowsOrigin)
      return handler.handle(context)
    },
    close: async () => handler.close?.(),
  }
}

const nothing: Handler = {
  handle(context) {
    throw new BextError("E_NOT_FOUND", `no route has the path ${context.path}`)
  },
}
