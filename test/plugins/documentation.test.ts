import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { loadProject } from "./plugin-project.ts"
import { textOf } from "./request-context.ts"

interface Example {
  readonly heading: string
  readonly files: Record<string, string>
  /** "GET /hello?name=Ada → 200 "Hello, Ada!"" */
  readonly expectations: string[]
}

const page = readFileSync(new URL("../../docs/plugins.md", import.meta.url), "utf8")

describe("docs/plugins.md", () => {
  const examples = page.split(/^## /m).map(toExample)
  const complete = examples.filter(({ expectations }) => expectations.length > 0)

  it("has examples that can run", () => assert.ok(complete.length >= 3))

  for (const { heading, files, expectations } of complete) {
    it(`is right about "${heading}"`, async (t) => {
      const { request } = await loadProject(t, files)
      for (const line of expectations) {
        const { method, path, query, status, text } = parse(line)
        const { response } = await request({ method, path, query })
        assert.equal(response.status, status, line)
        assert.equal(await textOf(response.body), text, line)
      }
    })
  }
})

/** The code blocks of one section: files begin with a comment that names them, `text` blocks hold what is to be seen. */
function toExample(section: string): Example {
  const example: Example = { heading: section.split("\n", 1)[0]!, files: {}, expectations: [] }
  for (const [, language, code] of section.matchAll(/^```(\w+)\n(.*?)^```/gms)) {
    const [, name, content] = /^(?:\/\/|#) (\S+)\n(.*)$/s.exec(code!) ?? []
    if (language === "text") example.expectations.push(...code!.trim().split("\n"))
    else if (name !== undefined) example.files[name] = content!
  }
  return example
}

function parse(line: string) {
  const [, method, path, query, status, text] =
    /^([A-Z]+) ([^\s?]+)(?:\?(\S*))? → (?:continue|(\d+) "(.*)")$/.exec(line) ?? assert.fail(`cannot read: ${line}`)
  return {
    method: method!,
    path: path!,
    query: query ?? "",
    status: status === undefined ? 200 : Number(status),
    text: text ?? "page",
  }
}
