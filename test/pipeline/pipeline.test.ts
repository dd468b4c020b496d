import assert from "node:assert/strict"
import { Readable } from "node:stream"
import { describe, it } from "node:test"
import { BextError } from "../../src/errors.ts"
import { HeaderList } from "../../src/message/header-list.ts"
import type { RequestContext, ResponseState } from "../../src/message/request-context.ts"
import type { Middleware } from "../../src/pipeline/middleware.ts"
import { Pipeline, type PipelineParts } from "../../src/pipeline/pipeline.ts"
import { Stack } from "../../src/pipeline/stack.ts"

describe("Stack", () => {
  it("orders by priority and keeps the given order for ties", () => {
    const stack = new Stack([entry("b", 600), entry("late", 700), entry("a", 600), entry("cors", 100)])
    assert.deepEqual(names(stack.all), ["cors", "b", "a", "late"])
  })

  it("shows a tenant's entries to that tenant only", () => {
    const stack = new Stack([
      entry("all", 500),
      entry("x", 600, { tenants: new Set(["x"]) }),
      entry("y", 600, { tenants: new Set(["y"]) }),
    ])
    assert.deepEqual(names(stack.list("x").entries), ["all", "x"])
    assert.deepEqual(names(stack.list("unknown").entries), ["all"])
    assert.deepEqual(names(stack.list(null).entries), ["all"])
  })

  it("refuses tenant entries before the tenant is known", () => {
    assert.throws(() => new Stack([entry("early", 400, { tenants: new Set(["x"]) })]), /early: match on tenants/)
  })
})

describe("Pipeline", () => {
  it("answers without a promise when nothing waits", () => {
    const { pipeline, trace } = setUp([recorder("one", 1), recorder("two", 2)])
    const context = request()
    assert.equal(pipeline.respond(context), undefined)
    assert.deepEqual(trace(context), ["one>", "two>", "app", "two<", "one<"])
  })

  it("runs in the same order when every hook waits", async () => {
    const { pipeline, trace } = setUp([recorder("one", 1, { wait: true }), recorder("two", 2, { wait: true })], {
      waitInApp: true,
    })
    const context = request()
    await pipeline.respond(context)
    assert.deepEqual(trace(context), ["one>", "two>", "app", "two<", "one<"])
  })

  it("stops at the first answer; those that ran, and those without on_request, see the response", () => {
    const { pipeline, trace } = setUp([
      recorder("one", 1),
      recorder("answers", 2, { answer: true }),
      recorder("never", 3),
      entry("response-only", 4, { onResponse: (context) => note(context, "response-only<") }),
    ])
    const context = request()
    pipeline.respond(context)
    assert.deepEqual(trace(context), ["one>", "answers>", "response-only<", "answers<", "one<"])
  })

  it("turns a built-in's refusal into its response and still shows it to that built-in", () => {
    const { pipeline, trace } = setUp([
      recorder("one", 1),
      recorder("refuses", 2, { fail: new BextError("E_RATE_LIMITED", "slow down") }),
    ])
    const context = request()
    pipeline.respond(context)
    assert.equal(context.response?.status, 429)
    assert.deepEqual(trace(context), ["one>", "refuses>", "refuses<", "one<"])
  })

  it("does not show the response to the plugin that failed", async () => {
    for (const wait of [false, true]) {
      const fail = new BextError("E_GUEST_THREW", "no")
      const { pipeline, trace } = setUp([recorder("one", 1), recorder("broken", 2, { fail, kind: "plugin", wait })])
      const context = request()
      await pipeline.respond(context)
      assert.equal(context.response?.status, 502)
      assert.deepEqual(trace(context), ["one>", "broken>", "one<"])
    }
  })

  it("asks the gate on the path the stack left, after the whole stack", () => {
    const seen: string[] = []
    const rewrite = entry("rewrite", 600, {
      onRequest: (context) => {
        context.path = "/admin"
      },
    })
    const { pipeline } = setUp([rewrite], {
      authorise: (context) => {
        seen.push(context.path)
        if (context.path.startsWith("/admin")) throw new BextError("E_FORBIDDEN", "not yours")
      },
    })
    const context = request()
    pipeline.respond(context)
    assert.deepEqual(seen, ["/admin"])
    assert.equal(context.response?.status, 403)
  })

  it("replaces the response and ends its body when on_response fails", async () => {
    const body = Readable.from(["never read"])
    const { pipeline } = setUp(
      [
        recorder("outer", 1),
        entry("broken", 2, {
          onResponse: () => {
            throw new BextError("E_GUEST_THREW", "no")
          },
        }),
      ],
      { body },
    )
    const context = request()
    pipeline.respond(context)
    assert.equal(context.response?.status, 502)
    assert.equal(body.destroyed, true)
  })

  it("answers 500 when the app rejects with something that is not an error", async () => {
    const { pipeline } = setUp([], { app: () => Promise.reject("text") })
    const context = request()
    await pipeline.respond(context)
    assert.equal(context.response?.status, 500)
  })

  it("goes on with the tenant's own entries once the resolver named it", () => {
    const resolver = entry("tenant", 400, {
      onRequest: (context) => {
        context.tenantId = "x"
      },
    })
    const { pipeline, trace } = setUp([
      resolver,
      recorder("common", 500),
      recorder("x-only", 600, { tenants: new Set(["x"]) }),
      recorder("y-only", 600, { tenants: new Set(["y"]) }),
    ])
    const context = request()
    pipeline.respond(context)
    assert.deepEqual(trace(context), ["common>", "x-only>", "app", "x-only<", "common<"])
  })

  it("keeps what already ran when a plugin with permission changes the tenant midway", () => {
    const changer = recorder("changer", 650, { kind: "plugin" })
    const change = entry("change", 660, {
      onRequest: (context) => {
        context.tenantId = "y"
      },
    })
    const { pipeline, trace } = setUp([
      entry("tenant", 400, {
        onRequest: (context) => {
          context.tenantId = "x"
        },
      }),
      recorder("x-early", 610, { tenants: new Set(["x"]) }),
      recorder("y-early", 610, { tenants: new Set(["y"]) }),
      changer,
      change,
      recorder("x-late", 700, { tenants: new Set(["x"]) }),
      recorder("y-late", 700, { tenants: new Set(["y"]) }),
    ])
    const context = request()
    pipeline.respond(context)
    assert.deepEqual(trace(context), ["x-early>", "changer>", "y-late>", "app", "y-late<", "changer<", "x-early<"])
  })

  it("measures every hook when timings are wanted", () => {
    const { pipeline } = setUp([recorder("one", 1)], { wantsTimings: () => true })
    const context = request()
    pipeline.respond(context)
    assert.deepEqual(
      context.timings?.map((timing) => timing.name),
      ["one", "one"],
    )
  })
})

const notes = new WeakMap<RequestContext, string[]>()

function note(context: RequestContext, text: string): void {
  const list = notes.get(context) ?? []
  list.push(text)
  notes.set(context, list)
}

function names(entries: readonly Pick<Middleware, "name">[]): string[] {
  return entries.map((item) => item.name)
}

function entry(name: string, priority: number, rest: Partial<Middleware> = {}): Middleware {
  return { name, priority, kind: "built-in", ...rest }
}

interface Behaviour extends Partial<Middleware> {
  readonly wait?: boolean
  readonly answer?: boolean
  readonly fail?: Error
}

function recorder(name: string, priority: number, { wait, answer, fail, ...rest }: Behaviour = {}): Middleware {
  const act = (context: RequestContext) => {
    if (fail !== undefined) throw fail
    if (answer) context.response = ok(null)
  }
  return entry(name, priority, {
    onRequest: (context) => {
      note(context, `${name}>`)
      return wait ? Promise.resolve().then(() => act(context)) : act(context)
    },
    onResponse: (context) => {
      note(context, `${name}<`)
      return wait ? Promise.resolve() : undefined
    },
    ...rest,
  })
}

interface SetUp extends Partial<PipelineParts> {
  readonly waitInApp?: boolean
  readonly body?: Readable
  readonly app?: (context: RequestContext) => Promise<ResponseState>
}

function setUp(middlewares: readonly Middleware[], { waitInApp, body, app, ...parts }: SetUp = {}) {
  const handle = (context: RequestContext) => {
    note(context, "app")
    const response = ok(body ?? null)
    return waitInApp ? Promise.resolve(response) : response
  }
  const pipeline = new Pipeline({
    stack: new Stack(middlewares),
    authorise: () => {},
    handler: { handle: app ?? handle },
    wantsTimings: () => false,
    toErrorResponse: (error) => ({
      status: error instanceof BextError ? error.status : 500,
      headers: HeaderList.empty(),
      body: null,
    }),
    ...parts,
  })
  return { pipeline, trace: (context: RequestContext) => notes.get(context) ?? [] }
}

function ok(body: Readable | null): ResponseState {
  return { status: 200, headers: HeaderList.empty(), body }
}

/** The fields the pipeline touches; everything else of a request is not its business. */
function request(): RequestContext {
  return { path: "/", tenantId: null, response: null, timings: null } as unknown as RequestContext
}
