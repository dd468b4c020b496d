import { setFlagsFromString } from "node:v8"
import { Worker } from "node:worker_threads"
import { BextError, type PlainError } from "../../errors.ts"
import type { CompiledGuest } from "./compile.ts"

export interface CompileRequest {
  readonly bytes: Uint8Array<ArrayBuffer>
  /** Most pages of 64 KiB that the module's memory may have. */
  readonly pages: number
}

export type CompileReply = Compiled | { readonly error: PlainError }

export interface Compiled {
  readonly guest: CompiledGuest
  /** Size of the metered module. */
  readonly codeBytes: number
}

/** Milliseconds without work until the thread is ended: an idle one holds tens of megabytes. */
const IDLE_MS = 3_000
/** The rewriter's buffers are not in this heap; the limits for modules bound them. */
const HEAP_MB = 128

/**
 * Threads of this process at work. Each tells V8 to compile all of a module at once, which then holds for every thread; the
 * last one done takes it back, so that nobody else's modules are compiled that way and none of ours is not.
 */
let compiling = 0

/** A thread that compiles one module at a time. It is started when there is one, and keeps no process alive. */
export class CompileThread implements AsyncDisposable {
  readonly #timeoutMs: number
  readonly #idleMs: number
  #worker: Worker | null = null
  #idle: NodeJS.Timeout | undefined
  #queue: Promise<unknown> = Promise.resolve()
  /** A thread that was killed while it compiled works on for up to seconds; the next one waits for its end. */
  #ending: Promise<void> = Promise.resolve()
  #closed = false

  constructor(timeoutMs: number, idleMs = IDLE_MS) {
    this.#timeoutMs = timeoutMs
    this.#idleMs = idleMs
  }

  /** @throws {BextError} `E_WASM_…`; `E_OVERLOADED` after disposal; `E_INTERNAL` when the compiler is at fault. */
  compile(bytes: Uint8Array, pages: number): Promise<Compiled> {
    // The caller may change its own meanwhile, and a small Buffer would take its whole pool along.
    const request = { bytes: new Uint8Array(bytes), pages }
    const compiled = this.#queue.then(() => this.#next(request))
    this.#queue = compiled.catch(() => {})
    return compiled
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearTimeout(this.#idle)
    await this.#worker?.terminate()
    await this.#queue
    await this.#ending
  }

  async #next(request: CompileRequest): Promise<Compiled> {
    await this.#ending
    if (this.#closed) throw new BextError("E_OVERLOADED", "the compiler is closed")
    clearTimeout(this.#idle)
    const rested = this.#worker
    const worker = rested ?? this.#start()
    this.#worker = worker
    // What is sent to a thread that rested has to stay here: it may have ended already, without a word so far.
    const transfer = rested === null ? [request.bytes.buffer] : []
    compiling++
    let reply: CompileReply | null
    try {
      reply = await ask(worker, request, transfer, this.#timeoutMs)
    } catch (error) {
      this.#worker = null
      this.#ending = worker.terminate().then(stoppedCompiling)
      throw error
    }
    stoppedCompiling()
    if (reply === null) {
      this.#worker = null
      if (rested !== null) return this.#next(request)
      throw new BextError("E_INTERNAL", "the compiler's thread ended")
    }
    this.#idle = setTimeout(() => {
      // From now on it takes no work: what is sent to it would be lost when it ends.
      this.#worker = null
      void worker.terminate()
    }, this.#idleMs).unref()
    if ("error" in reply) throw toError(reply.error)
    return reply
  }

  #start(): Worker {
    const worker = new Worker(new URL("./compile-worker.ts", import.meta.url), {
      execArgv: ["--disable-warning=ExperimentalWarning"],
      env: {},
      name: "bext compiler",
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    })
    // One that ends while nobody waits for it is replaced, and must not end the process with it.
    worker
      .on("error", () => {})
      .on("exit", () => {
        if (this.#worker === worker) this.#worker = null
      })
      .unref()
    return worker
  }
}

function stoppedCompiling(): void {
  if (--compiling === 0) setFlagsFromString("--wasm-lazy-compilation")
}

/** @returns null when the thread ended instead. */
function ask(
  worker: Worker,
  request: CompileRequest,
  transfer: readonly ArrayBuffer[],
  timeoutMs: number,
): Promise<CompileReply | null> {
  const { promise, resolve, reject } = Promise.withResolvers<CompileReply | null>()
  // When this thread was held up, the answer may be there already: it comes first.
  const timer = setTimeout(() => setImmediate(() => reject(tooSlow(timeoutMs))), timeoutMs)
  const failed = (error: Error) => reject(toFailure(error))
  const exited = () => resolve(null)
  worker.on("message", resolve).on("messageerror", failed).on("error", failed).on("exit", exited).ref()
  worker.postMessage(request, transfer)
  return promise.finally(() => {
    clearTimeout(timer)
    worker.off("message", resolve).off("messageerror", failed).off("error", failed).off("exit", exited).unref()
  })
}

function tooSlow(timeoutMs: number): BextError {
  return new BextError(
    "E_WASM_LIMIT",
    `checking and compiling it took more than ${timeoutMs / 1000} s: split its largest functions, or leave out what the plugin does not use`,
  )
}

function toFailure(error: Error & { code?: string }): BextError {
  if (error.code === "ERR_WORKER_OUT_OF_MEMORY")
    return new BextError("E_WASM_LIMIT", `checking it took more than ${HEAP_MB} MB of memory: make it smaller`)
  return new BextError("E_INTERNAL", "the compiler failed", { cause: error })
}

function toError({ code, what, stack }: PlainError): BextError {
  if (code !== null) return new BextError(code, what)
  return new BextError("E_INTERNAL", `the compiler failed: ${what}`, { cause: new Error(stack) })
}
