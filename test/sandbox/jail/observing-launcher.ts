import type { Jail, JailLauncher } from "../../../src/sandbox/jail/launcher.ts"

/** A launcher that remembers what it started. */
export interface ObservingLauncher extends JailLauncher {
  /** All jails, oldest first, ended or not. */
  readonly jails: readonly Jail[]
}

export function observe(launcher: JailLauncher): ObservingLauncher {
  const jails: Jail[] = []
  return {
    jails,
    isolation: launcher.isolation,
    async launch(options) {
      const jail = await launcher.launch(options)
      jails.push(jail)
      return jail
    },
    [Symbol.asyncDispose]: () => launcher[Symbol.asyncDispose](),
  }
}
