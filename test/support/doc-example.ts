import { readFile } from "node:fs/promises"

/** A plugin in a documentation block, and what the lines below it state. */
export interface DocExample {
  /** "src/plugin-api.ts:12", the line of the opening fence. */
  readonly place: string
  readonly language: "js" | "ts"
  readonly code: string
  /** Lines of plugin.toml by section. */
  readonly manifest: ReadonlyMap<string, readonly string[]>
  /** Lines of `[plugins.example.config]`. */
  readonly config: readonly string[]
  readonly secrets: ReadonlyMap<string, string>
  readonly statements: readonly Statement[]
}

export type Statement =
  | { readonly kind: "request"; readonly line: string; readonly request: Message; readonly outcome: Outcome }
  | { readonly kind: "log"; readonly line: string; readonly level: string; readonly text: string }

export interface Message {
  /** Words that are neither headers nor text: method and path, or a status. */
  readonly words: readonly string[]
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string | undefined
}

export interface Outcome extends Message {
  /** Who answered: the plugin, or the app, seen from the client (`continue`) or by what reached it (`app sees`). */
  readonly by: "plugin" | "app" | "app sees"
}

/**
 * The `js` and `ts` blocks of a file, in Markdown or in comments. Below the code of a block:
 * - `// METHOD /path name: value "body" → 403 name: value "body"`: what a request gets; `→ continue …`: the app answers
 *   200, with these response headers; `→ app sees /path name: value "body"`: what reaches the app. Quote what has spaces.
 * - `// → log LEVEL "text"`: a log line contains the text.
 * - `// plugin.toml [section] key = value`, `// config key = value`, `// secret NAME = "value"`: what it needs.
 * Several requests run in order against one server. `$APP` stands for the app's origin.
 */
export async function docExamples(file: string, name: string): Promise<DocExample[]> {
  const lines = (await readFile(file, "utf8")).split("\n").map((line) => line.replace(/^ *\* ?/, ""))
  const examples: DocExample[] = []
  for (let at = 0; at < lines.length; at++) {
    const language = /^```(js|ts)$/.exec(lines[at]!)?.[1] as "js" | "ts" | undefined
    if (language === undefined) continue
    const end = lines.indexOf("```", at)
    examples.push(parseExample(`${name}:${at + 1}`, language, lines.slice(at + 1, end)))
    at = end
  }
  return examples
}

export function parseExample(place: string, language: "js" | "ts", block: readonly string[]): DocExample {
  const manifest = new Map<string, string[]>()
  const config: string[] = []
  const secrets = new Map<string, string>()
  const statements: Statement[] = []
  for (const line of block) {
    const setting = /^\/\/ plugin\.toml \[(\w+)\] (.+)$/.exec(line)
    const own = /^\/\/ config (.+)$/.exec(line)
    const secret = /^\/\/ secret ([A-Z0-9_]+) = (".*")$/.exec(line)
    const log = /^\/\/ → log (\w+) (".*")$/.exec(line)
    const request = /^\/\/ ([A-Z]+ .*) → (.*)$/.exec(line)
    if (setting !== null) manifest.set(setting[1]!, [...(manifest.get(setting[1]!) ?? []), setting[2]!])
    else if (own !== null) config.push(own[1]!)
    else if (secret !== null) secrets.set(secret[1]!, JSON.parse(secret[2]!))
    else if (log !== null) statements.push({ kind: "log", line, level: log[1]!, text: JSON.parse(log[2]!) })
    else if (request !== null) {
      statements.push({ kind: "request", line, request: parseMessage(request[1]!), outcome: parseOutcome(request[2]!) })
    } else if (line.includes("→")) throw new SyntaxError(`${place}: not a statement: ${line}`)
  }
  return { place, language, code: block.join("\n"), manifest, config, secrets, statements }
}

function parseOutcome(text: string): Outcome {
  const by = text.startsWith("continue") ? "app" : text.startsWith("app sees") ? "app sees" : "plugin"
  return { by, ...parseMessage(text.replace(/^(continue|app sees)\s*/, "")) }
}

function parseMessage(text: string): Message {
  const words: string[] = []
  const headers: [string, string][] = []
  let body: string | undefined
  for (const [token, name, value] of text.matchAll(/([\w-]+): ("(?:\\.|[^"\\])*"|\S+)|"(?:\\.|[^"\\])*"|\S+/g)) {
    if (name !== undefined) headers.push([name, value!.startsWith('"') ? JSON.parse(value!) : value!])
    else if (token.startsWith('"')) body = JSON.parse(token)
    else words.push(token)
  }
  return { words, headers, body }
}
