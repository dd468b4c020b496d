#!/usr/bin/env node
import { readFileSync } from "node:fs"
import { nearest } from "../config/nearest.ts"
import { BextError } from "../errors.ts"
import { COMMANDS } from "./commands.ts"
import { commandHelp, generalHelp } from "./help.ts"
import { parseOptions, usageError } from "./parse-options.ts"
import { printError } from "./print-error.ts"

const FAILURE = 1
const USAGE = 2

// `bext explain | head`: nobody reads any more, which is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0)
  throw error
})

// `npm run` changes to the folder of package.json; paths on the command line count from where it was typed.
if (process.env.npm_lifecycle_event === "bext" && process.env.INIT_CWD !== undefined)
  process.chdir(process.env.INIT_CWD)

process.exitCode = await run(process.argv.slice(2))

async function run(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args)
  } catch (error) {
    printError(error)
    return error instanceof BextError && error.code === "E_USAGE" ? USAGE : FAILURE
  }
}

async function dispatch([first, ...rest]: readonly string[]): Promise<number> {
  if (first === undefined) {
    process.stderr.write(generalHelp())
    return USAGE
  }
  if (first === "--version" || first === "-V" || first === "-v" || first === "version")
    return print(`bext ${version()}\n`)
  if (isHelp(first)) return print(rest[0] === undefined ? generalHelp() : commandHelp(known(rest[0])))
  const name = known(first)
  if (beforeSeparator(rest).some((word) => word === "--help" || word === "-h")) return print(commandHelp(name))
  parseOptions(name, rest)
  const command = await COMMANDS[name]!.load()
  return command(rest)
}

function isHelp(word: string): boolean {
  return word === "--help" || word === "-h" || word === "help"
}

function beforeSeparator(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--")
  return end === -1 ? args : args.slice(0, end)
}

function known(name: string): string {
  if (Object.hasOwn(COMMANDS, name)) return name
  if (name.startsWith("-")) {
    const option = name.replace(/^-+/, "").split("=")[0]!
    const owner = Object.keys(COMMANDS).find((command) => Object.hasOwn(COMMANDS[command]!.options, option))
    const hint = owner === undefined ? undefined : `did you mean bext ${owner} ${name} …?`
    throw usageError(undefined, `the command is missing before ${name}`, hint)
  }
  const meant = nearest(name, Object.keys(COMMANDS))
  const hint =
    meant === undefined ? `the commands are: ${Object.keys(COMMANDS).join(", ")}` : `did you mean bext ${meant}?`
  throw usageError(undefined, `there is no command ${JSON.stringify(name)}`, hint)
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8")
  return (JSON.parse(text) as { version: string }).version
}

function print(text: string): number {
  process.stdout.write(text)
  return 0
}
