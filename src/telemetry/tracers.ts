import { fingerprint } from "../config/fingerprint.ts"
import { type SpanCounts, SpanQueue } from "./span-queue.ts"
import { type OtlpConfig, Tracer } from "./tracer.ts"

/** A tracer as one snapshot uses it. */
export interface TracerLease {
  readonly tracer: Tracer
  /** Gives it back; resolves, when nobody else uses it, when its last spans are sent or given up. */
  release(): Promise<void>
}

interface Shared {
  readonly tracer: Tracer
  readonly queue: SpanQueue
  users: number
}

/** The process's tracers, so that a reload that does not concern them loses no span. */
export class Tracers {
  /** Of all of them, since the process began. */
  readonly counts: SpanCounts = { exported: 0, dropped: 0 }
  readonly #shared = new Map<string, Shared>()
  readonly #warn: (message: string) => void

  constructor(warn: (message: string) => void) {
    this.#warn = warn
  }

  /**
   * The tracer of these settings.
   * @throws {BextError} `E_CONFIG_INVALID`.
   */
  async lease(config: OtlpConfig): Promise<TracerLease> {
    const key = fingerprint(config)
    const shared = this.#shared.get(key) ?? (await this.#create(config))
    this.#shared.set(key, shared)
    shared.users++
    let due = true
    return {
      tracer: shared.tracer,
      release: async () => {
        if (!due) return
        due = false
        if (--shared.users > 0) return
        this.#shared.delete(key)
        await shared.queue[Symbol.asyncDispose]()
      },
    }
  }

  async #create(config: OtlpConfig): Promise<Shared> {
    // A server without a collector does not load the OpenTelemetry packages.
    const { createOtlpSender } = await import("./otlp-sender.ts")
    const queue = new SpanQueue({
      sender: createOtlpSender(config),
      maxSpans: config.queue,
      timeoutMs: config.timeout,
      counts: this.counts,
      warn: this.#warn,
    })
    return { tracer: new Tracer(config.sample, (spans) => queue.add(spans)), queue, users: 0 }
  }
}
