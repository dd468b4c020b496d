import { createConfig } from "../../src/config/parse-config.ts"
import type { Config } from "../../src/config/schema.ts"
import { BextError } from "../../src/errors.ts"
import type { Handler } from "../../src/handlers/handler.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestContext, ResponseState } from "../../src/message/request-context.ts"
import type { Middleware } from "../../src/pipeline/middleware.ts"
import { Pipeline } from "../../src/pipeline/pipeline.ts"
import { Stack } from "../../src/pipeline/stack.ts"

/** Values of the variables of the same name. */
export const SESSION_KEY = "a session secret that is long enough, for tests"
export const OLD_KEY = "the secret that sealed sessions before that one"

/** What the door makes of a `[middleware]` section; "env:JWT" names a secret. */
export function middlewareConfig(section: object): Config["middleware"] {
  return toConfig(section).middleware
}

export function toConfig(middleware: object, tenants: object[] = []): Config {
  const input = { middleware, tenants } as Parameters<typeof createConfig>[0]
  return createConfig(input, {
    folder: import.meta.dirname,
    env: { JWT: "read by the test itself", SESSION_KEY, OLD_KEY },
  })
}

export interface RequestInit {
  method?: string
  path?: string
  hostname?: string
  clientAddress?: string
  headers?: readonly (readonly [string, string])[]
  user?: RequestContext["user"]
}

export function createContext(init: RequestInit = {}): RequestContext {
  const hostname = init.hostname ?? "example.com"
  return {
    method: init.method ?? "GET",
    clientMethod: init.method ?? "GET",
    path: init.path ?? "/",
    query: "",
    scheme: "https",
    host: hostname,
    hostname,
    clientAddress: init.clientAddress ?? "203.0.113.7",
    clientPort: 4711,
    protocolVersion: "HTTP/1.1",
    requestId: "0123456789abcdef0123456789abcdef",
    startedAtMs: performance.now(),
    requestHeaders: HeaderList.from(init.headers ?? []),
    requestBody: {
      present: false,
      bytes: undefined,
      buffer: () => Promise.resolve(new Uint8Array()),
      trailers: null,
      replace() {},
      stream() {
        throw new TypeError("no body")
      },
    },
    user: init.user ?? null,
    tenantId: null,
    siteId: null,
    extensions: null,
    response: null,
    traceparent: null,
    timings: null,
    signal: new AbortController().signal,
  }
}

export interface ServeOptions {
  authorise?: (context: RequestContext) => void
  wantsTimings?: (context: RequestContext) => boolean
  /** Headers of the app's response. */
  appHeaders?: readonly (readonly [string, string])[]
  /** What goes around the app. */
  wrap?: (handler: Handler) => Handler
}

/** Runs one request through the real pipeline in front of an app that answers 200. */
export async function serve(
  middlewares: readonly Middleware[],
  context: RequestContext,
  options: ServeOptions = {},
): Promise<ResponseState & { code: string | null }> {
  let code: string | null = null
  const pipeline = new Pipeline({
    stack: new Stack(middlewares),
    authorise: options.authorise ?? (() => {}),
    wantsTimings: options.wantsTimings ?? (() => false),
    handler: (options.wrap ?? same)({
      handle: () => ({ status: 200, headers: HeaderList.from(options.appHeaders ?? []), body: null }),
    }),
    toErrorResponse(error) {
      if (!(error instanceof BextError)) throw error
      code = error.code
      return { status: error.status, headers: HeaderList.from(error.headers), body: null }
    },
  })
  await pipeline.respond(context)
  if (context.response === null) throw new TypeError("the pipeline left no response")
  return { ...context.response, code }
}

function same(handler: Handler): Handler {
  return handler
}
