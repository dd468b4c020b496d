import { styleText } from "node:util"
import { COMMANDS } from "./commands.ts"
import { membersOf } from "./find-command.ts"

/** `bext --help` */
export function generalHelp(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const commands = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `${bold("bext")}, a web server extended by sandboxed plugins

${bold("Usage")}
  bext COMMAND [OPTIONS]

${bold("Commands")}
${commands.join("\n")}

${bold("Options")}
  -h, --help     Show this, or the help of a command: bext serve --help
  -V, --version  Show the version

${bold("To begin")}
  bext serve --static DIR     a folder of files
  bext serve --upstream URL   in front of an app
  bext init && bext serve     with a configuration for this folder

NO_COLOR=1 switches colours off, BEXT_DEBUG=1 shows the stack of an error.
`
}

/** `bext GROUP`: its commands. @param group - The first word of commands of two, e.g. "plugin". */
export function groupHelp(group: string): string {
  const rows = membersOf(group).map((name) => [`bext ${name}`, COMMANDS[name]!.summary])
  return `${bold("Commands")}\n${table(rows)}\n\nThe help of one: bext ${group} COMMAND --help\n`
}

/** `bext COMMAND --help`. @param name - A key of COMMANDS. */
export function commandHelp(name: string): string {
  const { summary, usage, options, details, examples } = COMMANDS[name]!
  const rows = Object.entries(options).map(([key, { value, short, description }]) => [
    `${short === undefined ? "" : `-${short}, `}--${key}${value === undefined ? "" : ` ${value}`}`,
    description,
  ])
  const sections = [
    `${summary}.`,
    `${bold("Usage")}\n  ${`bext ${name} ${usage}`.trimEnd()}`,
    `${bold("Options")}\n${table([...rows, ["-h, --help", "Show this"]])}`,
    ...details,
    `${bold("Examples")}\n${table(examples)}`,
  ]
  return `${sections.join("\n\n")}\n`
}

function table(rows: readonly (readonly string[])[]): string {
  const width = Math.max(...rows.map(([first]) => first!.length))
  return rows.map(([first, second]) => `  ${first!.padEnd(width)}  ${second}`.trimEnd()).join("\n")
}

function bold(text: string): string {
  return styleText("bold", text, { stream: process.stdout })
}
