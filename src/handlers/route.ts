import type { Config } from "../config/schema.ts"
import { BextError } from "../errors.ts"
import { compileGlob } from "../host/glob.ts"
import { HeaderList } from "../message/header-list.ts"
import type { RequestContext, ResponseState } from "../message/request-context.ts"
import type { Handler } from "./handler.ts"
import { createStaticHandler } from "./static-files.ts"
import { createUpstreamHandler } from "./upstream.ts"

interface Route {
  readonly matches: (path: string) => boolean
  readonly handler: Handler
}

/**
 * Sends each request to the first of `[[routes]]`, in file order, whose glob matches its path, otherwise to `[app]`:
 * files first when it has both a folder and an upstream, `E_NOT_FOUND` when it has neither.
 * Folders are taken as they stand in `config`: absolute, or relative to the working directory.
 * @param createUpstream - Whose handlers the caller owns, when it is not the default; `close` is for the default's.
 * @throws {BextError} `E_FILE_UNREADABLE`, `E_CONFIG_INVALID`.
 */
export function createRouter(
  config: Pick<Config, "routes" | "app">,
  createUpstream: typeof createUpstreamHandler = createUpstreamHandler,
): Handler {
  const { forward_extensions } = config.app
  return new Router(
    config.routes.map((row) => ({
      matches: compileGlob(row.path),
      handler: createHandler(row, forward_extensions, createUpstream),
    })),
    createHandler(config.app, forward_extensions, createUpstream),
  )
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
    for (const route of this.#routes) if (route.matches(path)) return route.handler.handle(context)
    return this.#app.handle(context)
  }

  async close(): Promise<void> {
    await Promise.all([this.#app, ...this.#routes.map((route) => route.handler)].map((handler) => handler.close?.()))
  }
}

function createHandler(
  row: { static?: string | undefined; upstream?: string | undefined; upstream_timeout: number },
  forwardExtensions: readonly string[],
  createUpstream: typeof createUpstreamHandler,
): Handler {
  const upstream =
    row.upstream === undefined
      ? undefined
      : createUpstream(row.upstream, { timeoutMs: row.upstream_timeout, forwardExtensions })
  if (row.static !== undefined) return createStaticHandler(row.static, upstream)
  return upstream ?? nothing
}

const nothing: Handler = {
  handle(context) {
    throw new BextError("E_NOT_FOUND", `no route has the path ${context.path}`)
  },
}
