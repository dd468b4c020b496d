#!/usr/bin/env node
import { BextError } from "../errors.ts"
import { Cancelled } from "./cancelled.ts"
import { COMMANDS } from "./commands.ts"
import { keepCompiledModules } from "./compile-cache.ts"
import { type Found, findCommand, isHelp } from "./find-command.ts"
import { commandHelp, generalHelp, groupHelp } from "./help.ts"
import { parseOptions } from "./parse-options.ts"
import { printError } from "./print-error.ts"
import { version } from "./version.ts"

const FAILURE = 1
const USAGE = 2
/** 128 + SIGINT, as shells say it. */
const INTERRUPTED = 130

// `bext explain | head`: nobody reads any more, which is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0)
  throw error
})

// `npm run` changes to the folder of package.json; paths on the command line count from where it was typed.
if (process.env.npm_lifecycle_event === "bext" && process.env.INIT_CWD !== undefined)
  process.chdir(process.env.INIT_CWD)

keepCompiledModules()
process.exitCode = await run(process.argv.slice(2))

async function run(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args)
  } catch (error) {
    if (error instanceof Cancelled) {
      process.stderr.write("\ncancelled; nothing was changed\n")
      return INTERRUPTED
    }
    printError(error)
    return error instanceof BextError && error.code === "E_USAGE" ? USAGE : FAILURE
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first, ...rest] = args
  if (first === undefined) {
    process.stderr.write(generalHelp())
    return USAGE
  }
  if (first === "--version" || first === "-V" || first === "-v" || first === "version")
    return print(`bext ${version()}\n`)
  if (isHelp(first)) return print(rest[0] === undefined ? generalHelp() : helpOf(findCommand(rest)))
  const found = findCommand(args)
  if (found.kind === "group") {
    if (rest.length > 0) return print(groupHelp(found.name))
    process.stderr.write(groupHelp(found.name))
    return USAGE
  }
  if (beforeSeparator(found.args).some((word) => word === "--help" || word === "-h")) return print(helpOf(found))
  parseOptions(found.name, found.args)
  const command = await COMMANDS[found.name]!.load()
  return command(found.args)
}

function helpOf({ kind, name }: Found): string {
  return kind === "group" ? groupHelp(name) : commandHelp(name)
}

function beforeSeparator(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--")
  return end === -1 ? args : args.slice(0, end)
}

function print(text: string): number {
  process.stdout.write(text)
  return 0
}
