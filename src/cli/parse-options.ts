import { parseArgs } from "node:util"
import { nearest } from "../config/nearest.ts"
import { BextError } from "../errors.ts"
import { COMMANDS, type Command } from "./commands.ts"

export interface Parsed {
  readonly options: ReadonlyMap<string, string | true>
  readonly words: readonly string[]
}

/**
 * Reads the words after a command's name.
 * @param name - A key of COMMANDS.
 * @throws {BextError} `E_USAGE` with the likely typo.
 */
export function parseOptions(name: string, args: readonly string[]): Parsed {
  const command = COMMANDS[name]!
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(command.options).map(([key, { type, short }]) => [key, { type, ...(short && { short }) }]),
    ),
    allowPositionals: true,
    strict: false,
    tokens: true,
  })
  const options = new Map<string, string | true>()
  const words: string[] = []
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value)
    if (token.kind === "option") options.set(token.name, checkOption(name, command, token))
  }
  const extra = words[command.words]
  if (extra !== undefined) throw tooMany(name, command, extra)
  return { options, words }
}

interface OptionToken {
  readonly name: string
  readonly rawName: string
  readonly value: string | undefined
  readonly inlineValue: boolean | undefined
}

function checkOption(
  name: string,
  command: Command,
  { rawName, value, inlineValue, ...token }: OptionToken,
): string | true {
  const option = Object.hasOwn(command.options, token.name) ? command.options[token.name] : undefined
  if (option === undefined || !(rawName.startsWith("--") || rawName === `-${option.short}`)) {
    const meant = nearest(token.name, Object.keys(command.options))
    const known = Object.keys(command.options).map((key) => `--${key}`)
    const hint = meant !== undefined ? `did you mean --${meant}?` : `it has: ${[...known, "--help"].join(", ")}`
    throw usageError(name, `bext ${name} has no option ${rawName}`, hint)
  }
  if (option.type === "boolean") {
    if (value === undefined) return true
    throw usageError(name, `${rawName} takes no value`, `write ${rawName} alone`)
  }
  // "--config --static" is a forgotten value; "--config=--static" is meant.
  if (value === undefined || value === "" || (!inlineValue && value.startsWith("-"))) {
    throw usageError(name, `${rawName} needs a value`, `write ${rawName} ${option.value}`)
  }
  return value
}

function tooMany(name: string, command: Command, word: string): BextError {
  const what = command.words === 0 ? `bext ${name} takes only options` : `bext ${name} takes one word`
  return usageError(name, `${what}, not ${JSON.stringify(word)}`, command.wordHint?.(word))
}

export function usageError(command: string | undefined, what: string, hint?: string): BextError {
  const help = command === undefined ? "bext --help" : `bext ${command} --help`
  return new BextError("E_USAGE", [what, ...(hint === undefined ? [] : [hint]), `see ${help}`].join("\n"))
}
