import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { parse } from "smol-toml"
import { addTables, type NewTable, setKeys } from "../../src/config/edit-toml.ts"
import { BextError } from "../../src/errors.ts"

const NEW: readonly NewTable[] = [
  { path: ["plugins", "new"], lines: [{ key: "sandbox", value: "quickjs" }] },
  {
    path: ["plugins", "new", "config"],
    lines: [
      { comment: "Two lines\n\nof comment" },
      { key: "list", value: ["a", 'b"\\\n\u007f'] },
      { key: "odd key", value: { deep: { x: 1.5 } } },
      { key: "large", value: 1e21 },
    ],
  },
]

const ADDED = {
  sandbox: "quickjs",
  config: { list: ["a", 'b"\\\n\u007f'], "odd key": { deep: { x: 1.5 } }, large: 1e21 },
}

describe("addTables", () => {
  it("puts a plugin at the end, an empty line before each table", () => {
    assert.equal(
      addTables("# mine\n[server]  # here\nlisten = ':1'", NEW.slice(0, 1)),
      "# mine\n[server]  # here\nlisten = ':1'\n\n[plugins.new]\nsandbox = \"quickjs\"\n",
    )
    assert.equal(addTables("", NEW.slice(0, 1)), '[plugins.new]\nsandbox = "quickjs"\n')
    assert.equal(addTables("a = 1\n\n", NEW.slice(0, 1)), 'a = 1\n\n[plugins.new]\nsandbox = "quickjs"\n')
  })

  it("puts a table of a plugin behind the others of it, and leaves the next table its comments", () => {
    const text = "[plugins.a]\nx = 1\n# y = 2\n\n# About b.\n[plugins.b]\n"
    assert.equal(
      addTables(text, [{ path: ["plugins", "a", "grant"], lines: [{ key: "identity", value: true }] }]),
      "[plugins.a]\nx = 1\n# y = 2\n\n[plugins.a.grant]\nidentity = true\n\n# About b.\n[plugins.b]\n",
    )
  })

  it("keeps a byte order mark first and the file's line ends", () => {
    const text = "\uFEFF[server]\r\nlisten = ':1'"
    assert.equal(
      addTables(text, NEW.slice(0, 1)),
      "\uFEFF[server]\r\nlisten = ':1'\r\n\r\n[plugins.new]\r\nsandbox = \"quickjs\"\r\n",
    )
  })

  const refused: [what: string, text: string, expected: RegExp][] = [
    ["plugins in braces", "x = 1\nplugins = { a = {} }\n", /^plugins is written as one value in line 2/],
    ["a plugin in braces", "[plugins]\nnew = {}\n", /^plugins\.new is written as one value in line 2/],
    ["a plugin as dotted keys", "plugins.new.enabled = true\n", /cannot be added to safely/],
    ["plugins that are no table", "plugins = 3\n", /^plugins is written as one value in line 1/],
    ["plugins as a list of tables", "[[plugins]]\n", /cannot be added to safely/],
    ["a plugin that is there", "[plugins.new]\n", /^\[plugins\.new\] is there already, in line 1/],
  ]
  for (const [what, text, expected] of refused) {
    it(`refuses ${what} and shows the lines to write by hand`, () => {
      assert.throws(
        () => addTables(text, NEW),
        (error: BextError) => {
          assert.equal(error.code, "E_CONFIG_EDIT")
          assert.match(error.message, expected)
          assert.match(error.message, /\[plugins\.new\]\nsandbox = "quickjs"/)
          return true
        },
      )
    })
  }

  it("reports a file that is no TOML as such", () => {
    assert.throws(() => addTables("[a\n", NEW), { code: "E_CONFIG_INVALID" })
  })

  it("adds lines and nothing else to any document, or refuses", () => {
    let added = 0
    for (let seed = 1; seed <= 1500; seed++) {
      const text = randomToml(seed)
      let result: string
      try {
        result = addTables(text, NEW)
      } catch (error) {
        if (!(error instanceof BextError && error.code === "E_CONFIG_EDIT")) throw error
        assert.match(text, /^\uFEFF?plugins\b|plugins = |\[plugins\]/m, text)
        continue
      }
      added++
      assert.ok(result.startsWith(text), `seed ${seed}`)
      const before = read(text) as { plugins?: object }
      assert.deepEqual(read(result), { ...before, plugins: { ...before.plugins, new: ADDED } })
    }
    assert.ok(added > 800, `${added} documents were added to`)
  })
})

describe("setKeys", () => {
  const set = (text: string) =>
    setKeys(text, ["plugins", "a", "grant"], { secrets: ["ONE", "TWO"], identity: true, max_fetch_per_minute: 60 })

  it("replaces values where they stand and adds the others below, comments kept", () => {
    assert.equal(
      set(
        "[plugins.a.grant] # allowed\n  identity = false # for now\n  secrets = [\n    'ONE', # first\n  ]\n# end\n[log]\n",
      ),
      "[plugins.a.grant] # allowed\n  identity = true # for now\n  secrets = [\n    'ONE', \"TWO\", # first\n  ]\n  max_fetch_per_minute = 60\n# end\n[log]\n",
    )
  })

  it("writes into braces and beside dotted keys", () => {
    assert.equal(
      set("[plugins.a]\ngrant = { identity = false } # x\n"),
      '[plugins.a]\ngrant = { identity = true, secrets = ["ONE", "TWO"], max_fetch_per_minute = 60 } # x\n',
    )
    assert.equal(
      set("[plugins.a]\ngrant.identity = false\nenabled = true"),
      '[plugins.a]\ngrant.identity = true\ngrant.secrets = ["ONE", "TWO"]\ngrant.max_fetch_per_minute = 60\nenabled = true',
    )
    assert.equal(
      set("plugins.a.grant = {}"),
      'plugins.a.grant = { secrets = ["ONE", "TWO"], identity = true, max_fetch_per_minute = 60 }',
    )
    assert.equal(
      set("[plugins]\r\na.grant.secrets = []\r\n"),
      '[plugins]\r\na.grant.secrets = ["ONE", "TWO"]\r\na.grant.identity = true\r\na.grant.max_fetch_per_minute = 60\r\n',
    )
  })

  it("adds the table when there is none, and changes nothing that is as it should be", () => {
    const text = set("[plugins.a]\nenabled = true\n\n[log]\n")
    assert.equal(
      text,
      '[plugins.a]\nenabled = true\n\n[plugins.a.grant]\nsecrets = ["ONE", "TWO"]\nidentity = true\nmax_fetch_per_minute = 60\n\n[log]\n',
    )
    assert.equal(set(text), text)
  })

  it("sets values in any document and changes no other, or refuses", () => {
    const values = { enabled: false, "x y": ["1", "2"], config: { list: [1] } }
    let changed = 0
    for (let seed = 1; seed <= 1500; seed++) {
      const text = randomToml(seed)
      let result: string
      try {
        result = setKeys(text, ["plugins", "p1"], values)
      } catch (error) {
        if (error instanceof BextError && error.code === "E_CONFIG_EDIT") continue
        throw error
      }
      changed++
      const before = read(text) as { plugins?: { p1?: object } }
      const p1 = { ...before.plugins?.p1, ...values }
      assert.deepEqual(read(result), { ...before, plugins: { ...before.plugins, p1 } }, text)
      const comments = (all: string) => all.match(/# c\d+/g) ?? []
      if (!/config\b/.test(text)) assert.deepEqual(comments(result), comments(text))
    }
    assert.ok(changed > 500, `${changed} documents were changed`)
  })
})

/** Plain objects: the parser's have no prototype. */
function read(text: string): Record<string, unknown> {
  return JSON.parse(JSON.stringify(parse(text.replace("\uFEFF", "")))) as Record<string, unknown>
}

/** A valid document in one of the many ways to write plugins down. */
function randomToml(seed: number): string {
  let state = seed * 2654435761
  const pick = (count: number) => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 0x9e3779b9) >>> 0
    return (state >>> 8) % count
  }
  const end = pick(3) === 0 ? "\r\n" : "\n"
  let comment = 0
  const note = () => (pick(3) === 0 ? `  # c${comment++} [not.a.table]` : "")
  const values = [
    "1",
    '"]\\" # no"',
    "'[x]'",
    `[1,${end}  2, # in a list${end}]`,
    `"""a${end}[b]${end}"""`,
    "{ x = { y = 1 } }",
  ]
  const value = () => values[pick(values.length)]!
  const body = () =>
    Array.from({ length: pick(4) }, (_, i) => `${pick(2) === 0 ? "  " : ""}k${i} = ${value()}${note()}`)
  const lines: string[] = []
  if (pick(2) === 0) lines.push("# at the top", `top = ${value()}${note()}`, `"dotted key".'b' = ${value()}`)
  const way = pick(8)
  if (way === 0) lines.push(`plugins = { p1 = { enabled = true, x = [1] }, p2 = {} }${note()}`)
  if (way === 1) lines.push(`plugins.p1.enabled = true${note()}`, `plugins . "p2" . k = ${value()}`)
  if (pick(2) === 0) lines.push("[server]", ...body())
  if (way === 2) lines.push("[plugins]", "p1.enabled = true", `p2 = {}${note()}`, "", "[plugins.p3]")
  if (way > 3) {
    for (let i = 1; i <= pick(4); i++) {
      lines.push("", `# c${comment++} p${i}`, `[ plugins . "p${i}" ]${note()}`, ...body())
      if (pick(2) === 0) lines.push(`${pick(2) === 0 ? "\t" : ""}[plugins.p${i}.grant]`, ...body(), "# grant's end")
    }
  }
  if (way === 3) lines.push("[plugins.p1.config]", ...body())
  for (let i = pick(3); i > 0; i--)
    lines.push("[[tenants]]", ...body(), ...(pick(2) === 0 ? ["[tenants.sub]", ...body()] : []))
  for (let i = pick(3); i > 0; i--) lines.push(["", "   ", "# the end"][pick(3)]!)
  return (pick(5) === 0 ? "\uFEFF" : "") + lines.join(end) + (pick(2) === 0 ? end : "")
}
