import { accessSync, constants, existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { delimiter, dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { getSystemErrorMessage } from "node:util"
import { pluginName } from "../config/manifest-schema.ts"
import { nearest } from "../config/nearest.ts"
import { BextError } from "../errors.ts"
import { readCatalogue } from "../registry/catalogue.ts"
import { type Build, type Language, type Scaffold, scaffold } from "../registry/scaffold.ts"
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
  const plugin = scaffold(name, language)
  try {
    write(dir, plugin.files)
    linkBext(plugin.link === "test" ? join(dir, "test") : dir, plugin.link === "always")
  } catch (error) {
    throw toBextError(error, dir)
  }
  const wrote = plugin.shown.map((file) => join(dir, file)).join("\n      ")
  process.stdout.write(`wrote ${wrote}\n\n${next(name, dir, plugin)}`)
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
  ...{ python: "python", ruby: "ruby", shell: "shell" },
  ...{ typescript: "ts", javascript: "js", rs: "rust", golang: "go", as: "assemblyscript" },
  ...{ py: "python", python3: "python", rb: "ruby", sh: "shell" },
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

/**
 * The package of bext that the project has, or else this one, as `npm link` would do it.
 * @param always - Whether there is to be a link in `dir` itself, also where the package is found without.
 */
function linkBext(dir: string, always: boolean): void {
  let target = fileURLToPath(new URL("../../", import.meta.url))
  try {
    target = join(createRequire(resolve(dir, "package.json")).resolve("bext/testing"), "../..")
    if (!always) return
  } catch {
    // There is none.
  }
  mkdirSync(join(dir, "node_modules"), { recursive: true })
  const link = resolve(dir, "node_modules/bext")
  if (!existsSync(link)) symlinkSync(target, link, "junction")
}

function next(name: string, dir: string, { build, needs }: Scaffold): string {
  const hasConfig = existsSync(FILE)
  const isFound = hasConfig && relative(join("plugins", name), dir) === ""
  const test = `${nodeCommand()} --test`
  const path = isFound ? [] : [`path = ${JSON.stringify(hasConfig ? dir : resolve(dir))}`]
  const absent = needs?.programs.filter((program) => !isOnPath(program)) ?? []
  const steps: Step[] = [
    ...(absent.length === 0 ? [] : [[`install ${needs?.what}; not found here: ${absent.join(", ")}`] as const]),
    ...(build === null ? [] : [buildStep(build, dir)]),
    ["test it", needs === null ? test : `cd ${dir} && ${test}`],
    [`add it to a site: in ${FILE}${hasConfig ? "" : " (bext init writes one)"}`, `[plugins.${name}]`, ...path],
    [`run it, and have every ${build === null ? "change" : "build"} taken over`, "bext dev"],
  ]
  return `next: ${steps.map((lines) => lines.join("\n        ")).join("\n      ")}\n`
}

/** What to do, then lines to type. */
type Step = readonly [string, ...string[]]

function buildStep({ command, once }: Build, dir: string): Step {
  return ["build it, and again after each change", `cd ${dir}`, ...(once === null ? [] : [`${once} # once`]), command]
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
