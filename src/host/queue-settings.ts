import { DEFAULT_QUEUE, type QueueConfig } from "../config/schema.ts"
import type { QueueSettings } from "../state/state.ts"

/** @param config - `[queues.NAME]`; undefined: there is none, and the defaults hold. */
export function toQueueSettings(queue: string, config: QueueConfig | undefined): QueueSettings {
  const { max_messages, visibility_timeout, max_attempts, backoff, max_backoff, retention } = config ?? DEFAULT_QUEUE
  return {
    queue,
    maxMessages: max_messages,
    visibilityMs: visibility_timeout,
    maxAttempts: max_attempts,
    backoffMs: backoff,
    maxBackoffMs: max_backoff,
    retentionMs: retention,
  }
}
