import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join, relative } from "node:path"
import { BextError } from "../errors.ts"
import { parseOptions, usageError } from "./parse-options.ts"

/** Where a configuration is looked for. */
export const FILE = "bext.config.toml"

/** `bext init [FOLDER]`: writes a configuration for what the folder holds; never overwrites one. */
export async function init(args: readonly string[]): Promise<number> {
  const folder = parseOptions("init", args).words[0] ?? "."
  if (!isFolder(folder)) throw new BextError("E_FILE_UNREADABLE", `there is no folder ${folder}`)
  const { found } = writeConfig(folder)
  const file = join(folder, FILE)
  const option = relative(".", folder) === "" ? "" : ` --config ${file}`
  process.stdout.write(`wrote ${file}: ${found}\n`)
  process.stdout.write(`next: bext plugin install security-headers${option}\n      bext serve${option}\n`)
  return 0
}

/**
 * Writes a configuration for what a folder holds.
 * @throws {BextError} `E_USAGE` when there is one, `E_FILE_UNREADABLE` when it cannot be written.
 */
export function writeConfig(folder: string): Site {
  const file = join(folder, FILE)
  const site = detect(folder)
  try {
    writeFileSync(file, toToml(site), { flag: "wx" })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === "EEXIST") throw usageError("init", `${file} is there already; nothing was changed`)
    throw new BextError("E_FILE_UNREADABLE", `cannot write ${file}: ${message}`, { cause: error })
  }
  return site
}

export interface Site {
  /** What was found, for people. */
  readonly found: string
  readonly static?: string
  readonly upstream?: string
  readonly listen: string
}

const STATIC_FOLDERS = ["public", "static", "dist", "build", "_site", "www", "htdocs"]

/** A folder of files, an app with a start script, or both (then files win). */
function detect(folder: string): Site {
  const files = STATIC_FOLDERS.find((name) => isFolder(join(folder, name)))
  const app = detectApp(folder)
  // An app that was started with the usual port keeps it.
  const listen = app?.port === 3000 ? "127.0.0.1:8080" : "127.0.0.1:3000"
  if (app !== undefined) {
    const upstream = `http://127.0.0.1:${app.port}`
    const start = `the app of package.json at ${upstream}${app.isGuess ? " (a guess: start it with PORT=4000)" : ""}`
    if (files === undefined) return { found: start, upstream, listen }
    return { found: `the files in ${files}/ and ${start}`, static: files, upstream, listen }
  }
  if (files !== undefined) return { found: `the files in ${files}/`, static: files, listen }
  return { found: "nothing to serve was recognised here; put it into [app]", listen }
}

/** Ports that start scripts of these programs use when none is given. */
const DEFAULT_PORTS: readonly (readonly [script: RegExp, port: number])[] = [
  [/\b(next|nuxt|nuxi|remix|react-scripts|nest)\b/, 3000],
  [/\bvite preview\b/, 4173],
  [/\bvite\b/, 5173],
  [/\bastro\b/, 4321],
]

function detectApp(folder: string): { port: number; isGuess: boolean } | undefined {
  const script = startScript(join(folder, "package.json"))
  if (script === undefined) return undefined
  const [, digits] = /(?:\bPORT=|--port[= ]|-p[= ]?)(\d{2,5})\b/.exec(script) ?? []
  if (digits !== undefined && Number(digits) <= 65_535) return { port: Number(digits), isGuess: false }
  const [, port] = DEFAULT_PORTS.find(([program]) => program.test(script)) ?? []
  return port === undefined ? { port: 4000, isGuess: true } : { port, isGuess: false }
}

function startScript(file: string): string | undefined {
  try {
    const { scripts } = JSON.parse(readFileSync(file, "utf8")) as { scripts?: Record<string, unknown> }
    const script = scripts?.start ?? scripts?.dev
    return typeof script === "string" ? script : undefined
  } catch {
    return undefined
  }
}

function toToml(site: Site): string {
  return `# The configuration of bext. Every field: docs/configuration.md. "bext check" checks this file.

[server]
listen = "${site.listen}"       # ":3000" for every address of this machine; PORT replaces the port

[app]
${handlers(site)}
# Some paths may go elsewhere:
# [[routes]]
# path = "/api/**"
# upstream = "http://127.0.0.1:4000"

# At most 100 requests a minute from one address:
# [middleware.rate_limit]
# requests = 100
# window = "1m"

# "bext plugin install security-headers" adds a plugin below: response headers that protect visitors.
# "bext plugin list" shows what else there is.
`
}

function handlers({ static: files, upstream }: Site): string {
  const lines = [
    files === undefined
      ? '# static = "public"                # a folder of files'
      : `static = "${files}"                  # a folder of files`,
    upstream === undefined
      ? '# upstream = "http://127.0.0.1:4000"   # an app behind bext'
      : `upstream = "${upstream}"   # an app behind bext`,
  ]
  return `${lines.join("\n")}\n`
}

function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory()
}
