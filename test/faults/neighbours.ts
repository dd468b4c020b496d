import { Agent } from "node:http"
import { setTimeout as pause } from "node:timers/promises"
import { get } from "../processes/several.ts"

/** A plugin that answers `/neighbour/TEXT` with the text: whoever gets somebody else's answer sees it. */
export const NEIGHBOUR = {
  "plugins/neighbour/plugin.toml": `[manifest]\nname = "neighbour"\nversion = "1.0.0"\ncapabilities = ["middleware"]\n`,
  "plugins/neighbour/index.js": `export function onRequest({ path }) { return new Response(path.slice("/neighbour/".length)) }`,
}
export const NEIGHBOUR_SECTION = `[plugins.neighbour]\nmatch = [{ path = "/neighbour/**" }]\n`

export interface Neighbours extends AsyncDisposable {
  /** Answers by status. */
  readonly answers: ReadonlyMap<number, number>
  /** Connections that ended without the answer that was due. */
  readonly broken: readonly string[]
  /** Answers that were not those to the request. */
  readonly wrong: readonly string[]
  readonly slowestMs: number
  /** Requests answered with 200 so far. */
  readonly answered: number
  /** Ends the load. @returns what its clients saw, in one line. */
  stop(): Promise<string>
}

/** Bounded however long a test waits. */
const MAX_REQUESTS = 20_000

/** Clients that keep one connection each and send one request after the other to the neighbour's route. */
export function startNeighbours(url: string, clients = 3): Neighbours {
  let stopped = false
  let slowestMs = 0
  let sent = 0
  const answers = new Map<number, number>()
  const broken: string[] = []
  const wrong: string[] = []
  const client = async (name: number) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let n = 0; !stopped && sent < MAX_REQUESTS; n++) {
      sent++
      const text = `${name}-${n}`
      const startedMs = performance.now()
      try {
        const { status, body } = await get(`${url}/neighbour/${text}`, agent)
        answers.set(status, (answers.get(status) ?? 0) + 1)
        if (status === 200 && body !== text) wrong.push(`${body.slice(0, 40)} for ${text}`)
      } catch (error) {
        broken.push(String(error))
      }
      slowestMs = Math.max(slowestMs, performance.now() - startedMs)
      await pause(4)
    }
    agent.destroy()
  }
  const done = Promise.all(Array.from({ length: clients }, (_, name) => client(name)))
  const stop = async () => {
    stopped = true
    await done
    const statuses = [...answers].map(([status, count]) => `${count} x ${status}`).join(", ")
    return `neighbours: ${statuses}, ${broken.length} broken, ${wrong.length} wrong, slowest ${Math.round(slowestMs)} ms`
  }
  return {
    answers,
    broken,
    wrong,
    get slowestMs() {
      return slowestMs
    },
    get answered() {
      return answers.get(200) ?? 0
    },
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}
