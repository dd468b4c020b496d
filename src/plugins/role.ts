/** What this process is among the processes of its server. It changes while plugins are loaded. */
export interface Role {
  /** True in exactly one process. */
  leader: boolean
  /** Calls `listener` after each change. @returns a function that ends it. Absent: it never changes. */
  watch?(listener: () => Promise<void>): () => void
}

/** The role of a process that is told what it is. */
export class ProcessRole implements Role {
  leader: boolean
  readonly #listeners = new Set<() => Promise<void>>()

  constructor(leader: boolean) {
    this.leader = leader
  }

  watch(listener: () => Promise<void>): () => void {
    // A function of its own, so that one listener may watch twice.
    const own = () => listener()
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  /** Resolves, for a process that leads no more, when whatever only the leader may do has ended. */
  async change(leader: boolean): Promise<void> {
    if (this.leader === leader) return
    this.leader = leader
    const done = Promise.allSettled(Array.from(this.#listeners, (listener) => listener()))
    // The next leader waits for the last one; nobody waits for what a new one begins.
    if (!leader) await done
  }
}
