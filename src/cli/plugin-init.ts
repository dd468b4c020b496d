import { existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { getSystemErrorMessage } from "node:util"
import { pluginName } from "../config/manifest-schema.ts"
import { nearest } from "../config/nearest.ts"
import { BextError } from "../errors.ts"
import { readCatalogue } from "../registry/catalogue.ts"
import { type Language, scaffold } from "../registry/scaffold.ts"
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
  const language = toLanguage(options.get("language") ?? (asking ? await ask("Language, ts or js [ts]: ") : ""))
  const usual = existsSync(FILE) ? join("plugins", name) : name
  const dir = String(options.get("dir") ?? ((asking && (await ask(`Folder [${usual}]: `))) || usual))
  const files = scaffold(name, language)
  try {
    write(dir, files)
    linkBext(dir)
  } catch (error) {
    throw toBextError(error, dir)
  }
  process.stdout.write(
    `wrote ${[...files.keys()].map((file) => join(dir, file)).join("\n      ")}\n\n${next(name, dir)}`,
  )
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

const LANGUAGES: Readonly<Record<string, Language>> = { ts: "ts", js: "js", typescript: "ts", javascript: "js" }

function toLanguage(text: string | true): Language {
  const word = String(text).toLowerCase()
  if (word === "") return "ts"
  const language = Object.hasOwn(LANGUAGES, word) ? LANGUAGES[word] : undefined
  if (language !== undefined) return language
  const meant = nearest(word, Object.keys(LANGUAGES))
  throw usageError(
    COMMAND,
    `there is no template for ${JSON.stringify(word)}`,
    meant ? `did you mean ${meant}?` : "there are: ts, js",
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

function next(name: string, dir: string): string {
  const hasConfig = existsSync(FILE)
  const isFound = hasConfig && relative(join("plugins", name), dir) === ""
  return `next: test it
        cd ${dir} && ${nodeCommand()} --test
      add it to a site: in ${FILE}${hasConfig ? "" : " (bext init writes one)"}
        [plugins.${name}]${isFound ? "" : `\n        path = ${JSON.stringify(hasConfig ? dir : resolve(dir))}`}
      run it, and have every change taken over
        bext dev
`
}
