import assert from "node:assert/strict"
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import { describe, it } from "node:test"

const root = join(import.meta.dirname, "..")
const documents = globSync("*.md", { cwd: root })
  .concat(globSync("docs/*.md", { cwd: root }))
  .sort()

/** Inline code that is a path of this repository. Names in capitals, and the default entries of a plugin, are not. */
const REPOSITORY_PATH = /`((?:src|test|docs|bench|scripts|schemas|examples|plugins|\.ci)\/[^\s`*…]*)`/g
const PLUGIN_PATH = /[A-Z]{4}|^src\/index\.[jt]s$/

describe("the documents of the project", () => {
  for (const document of documents) {
    const text = read(document)
    it(`${document} names only files that exist`, () => {
      const paths = Array.from(withoutBlocks(text).matchAll(REPOSITORY_PATH), (match) => match[1]!)
      const missing = paths.filter((path) => !PLUGIN_PATH.test(path) && !existsSync(join(root, path)))
      assert.deepEqual(missing, [])
    })

    it(`${document} links only to places that exist`, () => {
      const links = Array.from(withoutBlocks(text).matchAll(/\]\(([^)\s]+)\)/g), (match) => match[1]!)
      const local = links.filter((link) => !/^[a-z]+:/.test(link))
      assert.deepEqual(
        local.filter((link) => !leadsSomewhere(document, link)),
        [],
      )
    })
  }
})

describe("ARCHITECTURE.md", () => {
  const text = read("ARCHITECTURE.md")

  it("names functions that are in the file it names before them", () => {
    const places = Array.from(text.matchAll(/`((?:src|test)\/[^`]+)`\s+\(((?:`[^`]+`(?:,\s+)?)+)\)/g))
    assert.ok(places.length > 40)
    for (const [, path, names] of places) {
      const source = read(path!)
      for (const [, name] of names!.matchAll(/`([^`]+)`/g)) {
        assert.match(source, new RegExp(`(?<![\\w#])${name}\\b`), `${name} in ${path}`)
      }
    }
  })

  it("has a row in its layout for everything in src", () => {
    const listed = new Set(Array.from(text.matchAll(/`src\/([\w.-]+)\/?`/g), (match) => match[1]!))
    assert.deepEqual(
      readdirSync(join(root, "src")).filter((name) => !listed.has(name)),
      [],
    )
  })

  it("allows exactly the imports there are", () => {
    const rows = Array.from(section(text, "Imports").matchAll(/^\| (\w+) \| ([\w, ]*)\|$/gm))
    const allowed = rows.filter(([, part]) => part !== "part").map(([, part, list]) => [part!, words(list!)] as const)
    assert.deepEqual(Object.fromEntries(allowed), importsOfParts())
  })
})

describe("THREAT-MODEL.md", () => {
  const promises = read("THREAT-MODEL.md").split("\n## Not promised")[0]!.split(/^- /m).slice(1)

  it("names the tests that attack each promise, by file and title", () => {
    assert.ok(promises.length > 30)
    for (const promise of promises) {
      const attacks = Array.from(promise.matchAll(/`(test\/[^`]+)`((?:[\s,]+"[^"]+")+)/g))
      assert.ok(attacks.length > 0, `no test attacks: ${promise}`)
      for (const [, file, titles] of attacks) {
        const known = titlesIn(file!)
        for (const [, title] of titles!.matchAll(/"([^"]+)"/g)) {
          assert.ok(known.has(title!.replace(/\s+/g, " ")), `${file} has no test "${title}"`)
        }
      }
    }
  })
})

function read(path: string): string {
  return readFileSync(join(root, path), "utf8")
}

function withoutBlocks(markdown: string): string {
  return markdown.replace(/^```.*?^```/gms, "")
}

function section(markdown: string, heading: string): string {
  return markdown.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? assert.fail(heading)
}

function words(list: string): string[] {
  return list.split(/[, ]+/).filter(Boolean).sort()
}

function leadsSomewhere(document: string, link: string): boolean {
  const [path, anchor] = link.split("#") as [string, string | undefined]
  const file = path === "" ? document : join(dirname(document), path)
  if (!existsSync(join(root, file))) return false
  return anchor === undefined || Array.from(read(file).matchAll(/^#+ (.*)$/gm), toAnchor).includes(anchor)
}

/** As GitHub makes them. */
function toAnchor([, heading]: RegExpExecArray): string {
  return heading!
    .toLowerCase()
    .replace(/[^\p{Letter}\p{Number}\s_-]/gu, "")
    .replaceAll(" ", "-")
}

/** What a test is called in the report; a part that varies is shown as "…". */
function titlesIn(file: string): Set<string> {
  const titles = read(file).matchAll(/\b(?:describe|it|test)\(\s*(["'`])((?:\\.|(?!\1).)*)\1/gs)
  return new Set(Array.from(titles, ([, , title]) => title!.replace(/\$\{[^}]*\}/g, "…")))
}

function importsOfParts(): Record<string, string[]> {
  const imports = new Map<string, Set<string>>()
  for (const file of globSync("src/**/*.ts", { cwd: root })) {
    const part = partOf(file)
    if (part === undefined) continue
    const found = imports.get(part) ?? new Set()
    imports.set(part, found)
    for (const [, from, dynamic] of read(file).matchAll(/\bfrom "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/g)) {
      const target = partOf(posix.join(posix.dirname(file), from ?? dynamic!))
      if (target !== undefined && target !== part) found.add(target)
    }
  }
  return Object.fromEntries(Array.from(imports, ([part, from]) => [part, [...from].sort()]))
}

/** The part of the import table a file belongs to. */
function partOf(file: string): string | undefined {
  const [, first, second, third] = file.split("/")
  if (file === "src/plugin-api.ts" || file === "src/testing-api.ts") return undefined
  if (second === undefined) return WIRING.has(first!) ? "wiring" : first!.replace(/\.ts$/, "")
  return first === "sandbox" && third !== undefined ? second : first
}

const WIRING = new Set([
  "index.ts",
  "create-server.ts",
  "create-tiers.ts",
  "lane-thread.ts",
  "check-server.ts",
  "testing.ts",
])
