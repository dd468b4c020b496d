import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { QueuePush } from "../../src/host/queue.ts"
import { toQueueSettings } from "../../src/host/queue-settings.ts"
import type { NewMessage, QueueSettings, QueueStore } from "../../src/state/state.ts"

const message = (value: unknown, more = {}) => ({ value: JSON.stringify(value), key: null, delayMs: 0, ...more })

describe("pushes of a plugin", () => {
  it("have the bounds that the operator set for the queue, and the tenant of the call", async () => {
    const { push, pushed } = create()
    await push.push("mail", message({ a: 1 }, { key: "k", delayMs: 0.2 }), "acme")
    assert.deepEqual(pushed, [
      [toQueueSettings("mail", undefined), { value: '{"a":1}', key: "k", tenant: "acme", delayMs: 1 }],
    ])
  })

  it("are refused when they are no JSON, too deep, too large, or keyed by what is no text", async () => {
    const { push, pushed } = create()
    const refused = [
      { value: "nonsense", key: null, delayMs: 0 },
      { value: "", key: null, delayMs: 0 },
      { value: "[".repeat(200_000), key: null, delayMs: 0 },
      { value: `${"[".repeat(101)}${"]".repeat(101)}`, key: null, delayMs: 0 },
      message("x".repeat(256 * 1024)),
      message(1, { key: "\ud800" }),
      message(1, { key: "" }),
      message(1, { key: "é".repeat(257) }),
      message(1, { delayMs: Number.NaN }),
      message(1, { delayMs: Number.POSITIVE_INFINITY }),
    ]
    for (const one of refused) {
      await assert.rejects(push.push("mail", one, null), { code: "E_QUEUE_MESSAGE" }, one.value.slice(0, 20))
    }
    await assert.rejects(push.push("mail", message(1), "t".repeat(513)), { code: "E_QUEUE_MESSAGE" })
    assert.deepEqual(pushed, [])
  })

  it("count brackets inside of texts as text", async () => {
    const { push } = create()
    await push.push("mail", message(`${"[".repeat(500)}"\\`), null)
  })

  it("are at most 1000 and 8 MiB at once, one large one included", async () => {
    const { push, finish } = create({ waits: true })
    const small = Array.from({ length: 1000 }, () => push.push("mail", message(1), null))
    await assert.rejects(push.push("mail", message(1), null), { code: "E_LIMIT_QUEUE" })
    finish()
    await Promise.all(small)
    const large = Array.from({ length: 33 }, () => push.push("mail", message("x".repeat(250_000)), null))
    await assert.rejects(push.push("mail", message("x".repeat(250_000)), null), { code: "E_LIMIT_QUEUE" })
    finish()
    await Promise.all(large)
    const after = push.push("mail", message(1), null)
    finish()
    await after
  })

  it("fail with the plugin's name where there are no queues", async () => {
    const push = new QueuePush({ plugin: "shop", queues: [toQueueSettings("mail", undefined)], store: null })
    await assert.rejects(push.push("mail", message(1), null), { code: "E_STATE_UNAVAILABLE", message: /^shop: / })
    await assert.rejects(push.push("other", message(1), null), { code: "E_PERMISSION", message: /^shop: / })
  })
})

function create({ waits = false } = {}) {
  const pushed: [QueueSettings, NewMessage][] = []
  const waiting: (() => void)[] = []
  const store = {
    async push(settings: QueueSettings, one: NewMessage) {
      pushed.push([settings, one])
      if (waits) await new Promise<void>((done) => waiting.push(done))
      return "id"
    },
  } as Partial<QueueStore> as QueueStore
  const push = new QueuePush({ plugin: "shop", queues: [toQueueSettings("mail", undefined)], store })
  return {
    push,
    pushed,
    finish: () => {
      for (const done of waiting.splice(0)) done()
    },
  }
}
