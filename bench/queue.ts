import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { loadConfig } from "../src/config/load-config.ts"
import { createServer } from "../src/create-server.ts"
import { toQueueSettings } from "../src/host/queue-settings.ts"
import { openLmdbState } from "../src/state/open-lmdb-state.ts"
import type { QueueStore } from "../src/state/state.ts"
import { median } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE, writeConfig } from "./servers.ts"
import { temporaryFolder } from "./temporary-folder.ts"

const MESSAGES = 20_000
const ROUNDS = 3
const WARM_UP = 1
/** Pushes that wait for the disk at once. */
const PUSHING = 1000
/** Messages each request to the pushing plugin pushes; those of eight requests wait for the disk at once. */
const PER_REQUEST = 100
const KEYS = 1000
const VALUE = JSON.stringify({ to: "ada@example.com", subject: "Your order has shipped", order: 123_456 })

/** Push, delivery and acknowledgement in one process that serves: every push durable, every handler in QuickJS. */
export async function measureQueue(): Promise<Section> {
  const folder = writePlugins()
  const file = writeConfig(`${BASE}
[state]
dir = "${folder}/state"
[plugins.pusher]
path = "${folder}/pusher"
lane = "inline"
[plugins.pusher.limits]
max_cpu_ms = 1000
[plugins.pusher.grant]
queues = ["mail"]
[plugins.handler]
path = "${folder}/handler"
lane = "inline"
[plugins.handler.grant]
queues = ["mail"]
`)
  await using parts = new AsyncDisposableStack()
  const server = parts.use(await createServer(loadConfig(file), { folder: dirname(file) }))
  const { url } = await server.listen()
  const { queues } = parts.use(openLmdbState({ dir: join(folder, "state"), log: console }))
  const cases = {
    host: () => pushFromHost(queues, () => null),
    keyed: () => pushFromHost(queues, (n) => `customer ${n % KEYS}`),
    guest: () => pushFromGuest(url),
  }
  const rates: Record<keyof typeof cases, number[]> = { host: [], keyed: [], guest: [] }
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    for (const [name, push] of Object.entries(cases) as [keyof typeof cases, () => Promise<void>][]) {
      const startedAt = performance.now()
      await push()
      await emptied(queues)
      if (round >= WARM_UP) rates[name].push((MESSAGES * 1000) / (performance.now() - startedAt))
    }
  }
  const row = (what: string, samples: readonly number[], target?: Row["target"]): Row => ({
    what,
    value: Math.round(median(samples)),
    unit: "messages/s",
    ...(target === undefined ? {} : { target }),
  })
  return {
    title: "Queue: push, deliver and acknowledge, durable, in one serving process",
    rows: [
      row("pushed by the host", rates.host, { of: "value", atLeast: 20_000 }),
      row("pushed by a plugin, over HTTP", rates.guest, { of: "value", atLeast: 20_000 }),
      row(`pushed by the host with ${KEYS} keys`, rates.keyed),
    ],
    notes: [
      `${MESSAGES} messages of ${VALUE.length} bytes a round; each push resolves when it is on disk, each is handled by onQueueMessage in QuickJS with its budgets armed.`,
      "Both plugins are pinned to the serving thread, where the budget of a call is charged 0.05 ms for each push.",
      `At most ${PUSHING} pushes wait at once; a plugin pushes ${PER_REQUEST} for each request, eight requests at a time. One transaction holds up to 1024 messages; a consumer leases up to 512.`,
    ],
  }
}

async function pushFromHost(queues: QueueStore, keyOf: (n: number) => string | null): Promise<void> {
  const settings = toQueueSettings("mail", undefined)
  let next = 0
  const pusher = async () => {
    for (let n = next++; n < MESSAGES; n = next++) {
      await queues.push(settings, { value: VALUE, key: keyOf(n), tenant: null, delayMs: 0 })
    }
  }
  await Promise.all(Array.from({ length: PUSHING }, pusher))
}

async function pushFromGuest(url: string): Promise<void> {
  let next = 0
  const client = async () => {
    while (next++ < MESSAGES / PER_REQUEST) {
      const response = await fetch(url)
      if (response.status !== 202) throw new Error(`a push failed: ${response.status} ${await response.text()}`)
      await response.arrayBuffer()
    }
  }
  await Promise.all(Array.from({ length: 8 }, client))
}

async function emptied(queues: QueueStore): Promise<void> {
  while ((await queues.list()).some(({ messages }) => messages > 0)) await new Promise((look) => setTimeout(look, 2))
}

function writePlugins(): string {
  const folder = temporaryFolder()
  const write = (name: string, capability: string, code: string) => {
    mkdirSync(join(folder, name))
    writeFileSync(
      join(folder, name, "plugin.toml"),
      `[manifest]\nname = "${name}"\nversion = "1.0.0"\ncapabilities = ["${capability}"]\n[permissions]\nqueues = ["mail"]\n`,
    )
    writeFileSync(join(folder, name, "index.js"), code)
  }
  write(
    "pusher",
    "middleware",
    `export async function onRequest() {
  const pushes = []
  for (let n = 0; n < ${PER_REQUEST}; n++) pushes.push(bext.queue.push("mail", ${VALUE}))
  await Promise.all(pushes)
  return new Response(null, { status: 202 })
}
`,
  )
  write(
    "handler",
    "lifecycle",
    `let handled = 0
export function onQueueMessage(message) {
  if (message.value.order === 123456) handled++
}
`,
  )
  return folder
}
