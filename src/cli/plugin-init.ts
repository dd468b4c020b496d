import { accessSync, constants, existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { delimiter, dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { getSystemErrorMessage } from "node:util"
import { pluginName } from "../config/manifest-schema.ts"
import { nearest } from "../config/nearest.ts"
import { BextError } from "../errors.ts"
import { readCatalogue } from "../registry/catalogue.ts"
import { type Build, type Language, scaffold } from "../registry/scaffold.ts"
import { ask, canAsk } from "./ask.ts"
import { FILE } from "./init.ts"
import { nodeCommand } from "./node-command.ts"
import { parseOptions, usageError } from "./parse-options.ts"

const COMMAND = "plugin init"

/** `bext plugin init NAME`: the files of a new plugin, with a test that passes. Never overwrites one. */
export async function pluginInit(args: readonly string[]): Promise<number> {
  const { options, words } = parseOptions(COMMAND, args)
  const asking = canAsk() && !options.has("yes")
  const name = checkName(words[0] ?? (asking ? await ask("Name of the plugin: ") : undefined))
  const language = toLanguage(
    options.get("language") ?? (asking ? await ask(`Language (${NAMES.join(", ")}) [ts]: `) : ""),
  )
  const usual = existsSync(FILE) ? join("plugins", name) : name
  const dir = String(options.get("dir") ?? ((asking && (await ask(`Folder [${usual}]: `))) || usual))
  const { files, shown, build } = scaffold(name, language)
  try {
    write(dir, files)
    // Of a compiled plugin the test alone needs it; beside package.json `npm install` would remove the link.
    linkBext(build === null ? dir : join(dir, "test"))
  } catch (error) {
    throw toBextError(error, dir)
  }
  process.stdout.write(`wrote ${shown.map((file) => join(dir, file)).join("\n      ")}\n\n${next(name, dir, build)}`)
  return 0
}

function checkName(name: string | undefined): string {
  if (name === undefined) throw usageError(COMMAND, "the name of the plugin is missing", "bext plugin init my-plugin")
  const checked = pluginName().safeParse(name)
  if (!checked.success) {
    const [issue] = checked.error.issues
    const fix = issue?.code === "custom" ? (issue.params?.fix as string | undefined) : undefined
    throw usageError(COMMAND, `${JSON.stringify(name)}: ${issue?.message}`, fix)
  }
  if (!readCatalogue().has(name)) return name
  throw usageError(
    COMMAND,
    `a plugin ${name} comes with bext; choose another name`,
    `to use that one: bext plugin install ${name}`,
  )
}

const LANGUAGES: Readonly<Record<string, Language>> = {
  ...{ ts: "ts", js: "js", rust: "rust", go: "go", c: "c", assemblyscript: "assemblyscript" },
  ...{ typescript: "ts", javascript: "js", rs: "rust", golang: "go", as: "assemblyscript" },
}

const NAMES = [...new Set(Object.values(LANGUAGES))]

function toLanguage(text: string | true): Language {
  const word = String(text).toLowerCase()
  if (word === "") return "ts"
  const language = Object.hasOwn(LANGUAGES, word) ? LANGUAGES[word] : undefined
  if (language !== undefined) return language
  const meant = nearest(word, Object.keys(LANGUAGES))
  throw usageError(
    COMMAND,
    `there is no template for ${JSON.stringify(word)}`,
    meant ? `did you mean ${meant}?` : `there are: ${NAMES.join(", ")}`,
  )
}

function write(dir: string, files: ReadonlyMap<string, string>): void {
  // A link that leads nowhere counts as well.
  const there = [...files.keys()].filter((file) => lstatSync(join(dir, file), { throwIfNoEntry: false }) !== undefined)
  if (there.length > 0) {
    throw usageError(
      COMMAND,
      `${dir} has a ${there.join(", ")} already; nothing was changed`,
      "name another folder with --dir",
    )
  }
  for (const [file, text] of files) {
    mkdirSync(dirname(join(dir, file)), { recursive: true })
    writeFileSync(join(dir, file), text, { flag: "wx" })
  }
}

function toBextError(error: unknown, dir: string): unknown {
  const { errno, path } = error as NodeJS.ErrnoException
  if (error instanceof BextError || errno === undefined) return error
  return new BextError("E_FILE_UNREADABLE", `cannot write ${path ?? dir}: ${getSystemErrorMessage(errno)}`, {
    cause: error,
  })
}

/** Where the project has no bext among its packages, the plugin gets this one, as `npm link` would do it. */
function linkBext(dir: string): void {
  try {
    createRequire(resolve(dir, "package.json")).resolve("bext/testing")
  } catch {
    mkdirSync(join(dir, "node_modules"), { recursive: true })
    symlinkSync(fileURLToPath(new URL("../../", import.meta.url)), resolve(dir, "node_modules/bext"), "junction")
  }
}

function next(name: string, dir: string, build: Build | null): string {
  const hasConfig = existsSync(FILE)
  const isFound = hasConfig && relative(join("plugins", name), dir) === ""
  const test = `${nodeCommand()} --test`
  const path = isFound ? [] : [`path = ${JSON.stringify(hasConfig ? dir : resolve(dir))}`]
  const steps: Step[] = [
    ...(build === null ? [] : buildSteps(build, dir)),
    ["test it", build === null ? `cd ${dir} && ${test}` : test],
    [`add it to a site: in ${FILE}${hasConfig ? "" : " (bext init writes one)"}`, `[plugins.${name}]`, ...path],
    [`run it, and have every ${build === null ? "change" : "build"} taken over`, "bext dev"],
  ]
  return `next: ${steps.map((lines) => lines.join("\n        ")).join("\n      ")}\n`
}

/** What to do, then lines to type. */
type Step = readonly [string, ...string[]]

function buildSteps({ command, toolchain, programs, once }: Build, dir: string): Step[] {
  const absent = programs.filter((program) => !isOnPath(program))
  const build: Step = [
    "build it, and again after each change",
    `cd ${dir}`,
    ...(once === null ? [] : [`${once} # once`]),
    command,
  ]
  return absent.length === 0 ? [build] : [[`install ${toolchain}; not found here: ${absent.join(", ")}`], build]
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return folder !== ""
    } catch {
      return false
    }
  })
}
