import { Worker } from "node:worker_threads"

/** What the worker answers to one source text. */
export type StripReply =
  | { readonly code: string }
  | { readonly message: string; readonly line: number; readonly column: number; readonly broken: boolean }

/** A TypeScript source that cannot be stripped. Line and column count from 1; 0 = not known. */
export class StripError extends Error {
  readonly line: number
  readonly column: number
  readonly tookMs: number

  constructor(message: string, line: number, column: number, tookMs: number) {
    super(message)
    this.line = line
    this.column = column
    this.tookMs = tookMs
  }
}

export interface Stripped {
  readonly code: string
  /** Milliseconds the parser worked, waits for other sources excluded. */
  readonly tookMs: number
}

/** Milliseconds one file may take. A megabyte of ordinary TypeScript takes well under one second. */
const TIME_LIMIT_MS = 5_000
/** Milliseconds without work until the worker is ended: an idle one holds tens of megabytes. */
const IDLE_MS = 1_000

let worker: Worker | null = null
let idle: NodeJS.Timeout | undefined
let queue: Promise<unknown> = Promise.resolve()

/**
 * Blanks out TypeScript types; what remains keeps its line and column. Runs in a worker, one source at a time: the parser is
 * one WebAssembly instance per thread, and a source that nests deeply enough to overflow its stack breaks it for good.
 * @throws {StripError}
 */
export function stripTypes(code: string): Promise<Stripped> {
  const result = queue.then(() => stripNext(code))
  queue = result.catch(() => {})
  return result
}

async function stripNext(code: string): Promise<Stripped> {
  clearTimeout(idle)
  worker ??= startWorker()
  const startedAtMs = performance.now()
  const reply = await ask(worker, code)
  const tookMs = performance.now() - startedAtMs
  if (!("code" in reply) && reply.broken) stopWorker()
  else idle = setTimeout(stopWorker, IDLE_MS).unref()
  if ("code" in reply) return { code: reply.code, tookMs }
  throw new StripError(reply.message, reply.line, reply.column, tookMs)
}

function startWorker(): Worker {
  const started = new Worker(new URL("./modules-strip-worker.ts", import.meta.url), {
    execArgv: ["--disable-warning=ExperimentalWarning"],
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: 128 },
  })
  // One that ends while nobody waits for it is replaced, and must not end the process with it.
  started
    .on("error", () => {})
    .on("exit", () => {
      if (worker === started) worker = null
    })
  started.unref()
  return started
}

function stopWorker(): void {
  const stopped = worker
  worker = null
  void stopped?.terminate()
}

function ask(asked: Worker, code: string): Promise<StripReply> {
  return new Promise((resolve) => {
    const answer = (reply: StripReply) => {
      clearTimeout(timer)
      asked.off("message", answer).off("error", failed).off("exit", failed).unref()
      resolve(reply)
    }
    const give = (message: string) => answer({ message, line: 0, column: 0, broken: true })
    const failed = () => give("the TypeScript parser crashed on this file: it nests too deeply or is too large")
    const timer = setTimeout(() => give(`parsing took more than ${TIME_LIMIT_MS} ms`), TIME_LIMIT_MS)
    asked.on("message", answer).on("error", failed).on("exit", failed).ref()
    asked.postMessage(code)
  })
}
