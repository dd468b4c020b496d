import { nearest } from "../config/nearest.ts"
import type { BextError } from "../errors.ts"
import { COMMANDS } from "./commands.ts"
import { usageError } from "./parse-options.ts"

/** One command with what follows its name, or a group ("plugin") whose command is still to be chosen. */
export type Found =
  | { readonly kind: "command"; readonly name: string; readonly args: readonly string[] }
  | { readonly kind: "group"; readonly name: string }

/**
 * Finds a command by its first word, or its first two: `plugin list`.
 * @throws {BextError} `E_USAGE` with what was probably meant.
 */
export function findCommand([first = "", ...rest]: readonly string[]): Found {
  if (Object.hasOwn(COMMANDS, first)) return { kind: "command", name: first, args: rest }
  const members = membersOf(first)
  if (members.length === 0) throw unknownCommand(first)
  const [second] = rest
  if (second === undefined || isHelp(second)) {
    const helped = rest[1]
    return helped === undefined ? { kind: "group", name: first } : findCommand([first, helped])
  }
  const name = `${first} ${second}`
  if (Object.hasOwn(COMMANDS, name)) return { kind: "command", name, args: rest.slice(1) }
  const meant = nearest(
    second,
    members.map((member) => member.slice(first.length + 1)),
  )
  const hint = meant === undefined ? `there are: ${members.join(", ")}` : `did you mean bext ${first} ${meant}?`
  throw usageError(first, `bext ${first} has no command ${JSON.stringify(second)}`, hint)
}

/** Names of the commands that begin with this word. */
export function membersOf(group: string): string[] {
  return Object.keys(COMMANDS).filter((name) => name.startsWith(`${group} `))
}

export function isHelp(word: string): boolean {
  return word === "--help" || word === "-h" || word === "help"
}

function unknownCommand(name: string): BextError {
  if (name.startsWith("-")) {
    const option = name.replace(/^-+/, "").split("=")[0]!
    const owner = Object.keys(COMMANDS).find((command) => Object.hasOwn(COMMANDS[command]!.options, option))
    const hint = owner === undefined ? undefined : `did you mean bext ${owner} ${name} …?`
    return usageError(undefined, `the command is missing before ${name}`, hint)
  }
  const words = [...new Set(Object.keys(COMMANDS).map((command) => command.split(" ")[0]!))]
  const inGroup = Object.keys(COMMANDS).find((command) => command.endsWith(` ${name}`))
  const meant = inGroup ?? nearest(name, words)
  const hint = meant === undefined ? `the commands are: ${words.join(", ")}` : `did you mean bext ${meant}?`
  return usageError(undefined, `there is no command ${JSON.stringify(name)}`, hint)
}
