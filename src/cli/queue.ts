import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import { styleText } from "node:util"
import { printable } from "../config/printable.ts"
import { readText } from "../config/read-text.ts"
import { BextError } from "../errors.ts"
import type { QueueStore, QueueSummary, ShownMessage } from "../state/state.ts"
import { canAsk, confirm } from "./ask.ts"
import { formatCount, formatJson, formatSpan, formatTable } from "./format.ts"
import { FILE } from "./init.ts"
import { parseOptions, usageError } from "./parse-options.ts"
import { readConfig } from "./read-config.ts"

/** Messages `bext queue show` prints at most. */
const SHOWN = 100
/** Characters of a value in a list. */
const VALUE_SHOWN = 120

type Options = ReadonlyMap<string, string | true>

/** `bext queue list`: what every queue holds. */
export async function queueList(args: readonly string[]): Promise<number> {
  const { options } = parseOptions("queue list", args)
  const queues = await withQueues(options, (store) => store.list())
  print(options.has("json") ? formatJson(queues) : listText(queues))
  return 0
}

/** `bext queue show NAME`: its oldest messages, or its oldest dead letters. */
export async function queueShow(args: readonly string[]): Promise<number> {
  const { options, words } = parseOptions("queue show", args)
  const queue = nameOf("queue show", words)
  const which = options.has("dead") ? "dead" : "live"
  const messages = await withQueues(options, async (store) => {
    await assertThere("queue show", store, queue)
    return store.show(queue, which, SHOWN)
  })
  print(options.has("json") ? formatJson(messages) : showText(queue, which, messages))
  return 0
}

/** `bext queue retry NAME ID|--all`: gives dead letters another round. */
export async function queueRetry(args: readonly string[]): Promise<number> {
  const { options, words } = parseOptions("queue retry", args)
  const queue = nameOf("queue retry", words)
  const id = words[1]
  if ((id === undefined) === !options.has("all")) {
    throw usageError("queue retry", "which dead letters?", `name one, or write bext queue retry ${queue} --all`)
  }
  const revived = await withQueues(options, async (store) => {
    await assertThere("queue retry", store, queue)
    return store.revive(queue, id === undefined ? null : [id])
  })
  if (id !== undefined && revived === 0) {
    const what = `queue ${queue} has no dead letter ${JSON.stringify(id)}`
    throw usageError("queue retry", what, `bext queue show ${queue} --dead shows them`)
  }
  print(options.has("json") ? formatJson({ revived }) : `${formatCount(revived)} of ${queue} will be delivered again\n`)
  return 0
}

/** `bext queue purge NAME`: removes its messages, or its dead letters, for good. */
export async function queuePurge(args: readonly string[]): Promise<number> {
  const { options, words } = parseOptions("queue purge", args)
  const queue = nameOf("queue purge", words)
  const which = options.has("dead") ? "dead" : "live"
  return withQueues(options, async (store) => {
    const { messages, dead } = await assertThere("queue purge", store, queue)
    const what = which === "dead" ? `${formatCount(dead)} dead letters` : `${formatCount(messages)} messages`
    if (!options.has("yes")) {
      const question = `Remove ${what} of ${queue} for good?`
      if (!canAsk()) throw usageError("queue purge", `${question} Nobody can be asked here`, "add --yes")
      if (!(await confirm(question))) return 1
    }
    const purged = await store.purge(queue, which)
    print(options.has("json") ? formatJson({ purged }) : `${formatCount(purged)} removed from ${queue}\n`)
    return 0
  })
}

function nameOf(command: string, [queue]: readonly string[]): string {
  if (queue !== undefined) return queue
  throw usageError(command, "the name of the queue is missing", "bext queue list shows them")
}

async function assertThere(command: string, store: QueueStore, name: string): Promise<QueueSummary> {
  const queues = await store.list()
  const found = queues.find(({ queue }) => queue === name)
  if (found !== undefined) return found
  const there = queues.map(({ queue }) => queue).join(", ") || "none"
  throw usageError(command, `there is no queue ${JSON.stringify(name)}`, `there are: ${there}`)
}

/** Works on the state beside the server, whether it runs or not. */
async function withQueues<T>(options: Options, work: (store: QueueStore) => Promise<T>): Promise<T> {
  const file = resolve(String(options.get("config") ?? FILE))
  const { dir } = readConfig(readText(file, "E_CONFIG_NOT_FOUND"), file).state
  if (!existsSync(join(dir, "state"))) {
    const hint = "start one with bext serve, or name its configuration with --config"
    throw new BextError("E_USAGE", `no server has run with ${dir} yet\n${hint}`)
  }
  const { openLmdbState } = await import("../state/open-lmdb-state.ts")
  const log = { error: (_detail: object, message: string) => process.stderr.write(`${message}\n`) }
  await using state = openLmdbState({ dir, log })
  return await work(state.queues)
}

function listText(queues: readonly QueueSummary[]): string {
  if (queues.length === 0) return "no message was ever pushed\n"
  const nowMs = Date.now()
  const rows = queues.map(({ queue, messages, delayed, leased, dead, oldestAtMs }) => [
    printable(queue),
    ...[messages - delayed - leased, delayed, leased, dead].map(formatCount),
    oldestAtMs === null ? "" : formatSpan(nowMs - oldestAtMs),
  ])
  const head = ["queue", "waiting", "delayed", "leased", "dead", "oldest"].map((word) => styleText("dim", word))
  return lines(formatTable([head, ...rows], new Set([1, 2, 3, 4, 5])))
}

function showText(queue: string, which: "live" | "dead", messages: readonly ShownMessage[]): string {
  if (messages.length === 0)
    return `queue ${printable(queue)} has no ${which === "dead" ? "dead letters" : "messages"}\n`
  return lines(messages.flatMap(messageLines))
}

function messageLines({ id, value, key, tenant, pushedAtMs, attempts, diedAtMs, error }: ShownMessage): string[] {
  const facts = [
    id,
    `pushed ${new Date(pushedAtMs).toISOString()}`,
    ...(attempts === null ? [] : [`${attempts} attempts`]),
    ...(diedAtMs === null ? [] : [`dead since ${new Date(diedAtMs).toISOString()}`]),
    ...(key === null ? [] : [`key ${JSON.stringify(key)}`]),
    ...(tenant === null ? [] : [`tenant ${tenant}`]),
  ]
  const shown = value.length > VALUE_SHOWN ? `${value.slice(0, VALUE_SHOWN)}…` : value
  return [facts.join("  "), `    ${shown}`, ...(error === null ? [] : [`    ${error.split("\n", 1)[0]!}`])].map(
    printable,
  )
}

function lines(all: readonly string[]): string {
  return `${all.join("\n")}\n`
}

function print(text: string): void {
  process.stdout.write(text)
}
