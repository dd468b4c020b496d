import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { inspect } from "node:util"
import { ConfigError } from "../../src/config/config-error.ts"
import { configError, createConfig, parseConfig } from "../../src/config/parse-config.ts"
import type { Config } from "../../src/config/schema.ts"

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), "bext-config-"))
  mkdirSync(join(folder, "public"))
  mkdirSync(join(folder, "plugins/geo"), { recursive: true })
  writeFileSync(join(folder, "502.html"), "<p>sorry")
  writeFileSync(join(folder, "key.pem"), "-")
})
after(() => rmSync(folder, { recursive: true }))

type Env = Record<string, string | undefined>

function parse(text: string, env: Env = {}): Config {
  return parseConfig(text, { file: join(folder, "bext.config.toml"), env })
}

/** The problems of a text as "line:column field: what | fix | fix". */
function problemsOf(text: string, env: Env = {}): string[] {
  return errorOf(text, env).message.length === 0 ? [] : summarise(errorOf(text, env))
}

function summarise(error: ConfigError): string[] {
  return error.problems.map(({ position, path, what, fixes }) =>
    [`${position?.line}:${position?.column} ${path.join(".")}: ${what}`, ...(fixes ?? [])].join(" | "),
  )
}

function errorOf(text: string, env: Env = {}): ConfigError {
  try {
    parse(text, env)
  } catch (error) {
    assert.ok(error instanceof ConfigError, inspect(error))
    return error
  }
  throw new assert.AssertionError({ message: "it loaded" })
}

describe("a configuration that loads", () => {
  it("takes the overview's snippet word for word", () => {
    const config = parse(`[plugins.security-headers]
sandbox = "quickjs"
[plugins.security-headers.config]
hsts_max_age = 31536000
x_frame_options = "DENY"
`)
    const plugin = config.plugins["security-headers"]
    assert.equal(plugin?.sandbox, "quickjs")
    assert.deepEqual(plugin?.config, { hsts_max_age: 31536000, x_frame_options: "DENY" })
    assert.equal(plugin?.on_error, "closed")
    assert.equal(plugin?.enabled, true)
  })

  it("takes nothing at all: every field has a default", () => {
    const config = parse("")
    assert.equal(config.server.listen, "127.0.0.1:3000")
    assert.equal(config.server.limits.header_bytes, 16 * 1024)
    assert.equal(config.server.grace, 10_000)
    assert.deepEqual(config.plugins, {})
  })

  it("is frozen to the bottom", () => {
    const config = parse(`[plugins.geo]
match = [{ path = "/a/**", methods = ["GET"] }]
[plugins.geo.config]
nested = { list = [1, { a = 1 }] }
`)
    const unfrozen: string[] = []
    const visit = (value: unknown, path: string) => {
      if (typeof value !== "object" || value === null) return
      if (!Object.isFrozen(value)) unfrozen.push(path)
      for (const [key, inner] of Object.entries(value)) visit(inner, `${path}.${key}`)
    }
    visit(config, "config")
    assert.deepEqual(unfrozen, [])
  })

  it("makes every file path absolute, from the folder of the file", () => {
    const config = parse(`[app]
static = "public"
[middleware.auth]
algorithms = ["RS256"]
key_file = "./key.pem"
[plugins.geo]
path = "plugins/geo"
[errors]
502 = "502.html"
`)
    assert.equal(config.app.static, join(folder, "public"))
    assert.equal(config.middleware.auth?.key_file, join(folder, "key.pem"))
    assert.equal(config.plugins.geo?.path, join(folder, "plugins/geo"))
    assert.equal(config.errors["502"], join(folder, "502.html"))
    assert.equal(config.state.dir, join(folder, ".bext"))
  })

  it("lets PORT replace the port and keeps the address", () => {
    assert.equal(parse("", { PORT: "8080" }).server.listen, "127.0.0.1:8080")
    assert.equal(parse('server.listen = "[::1]:1"', { PORT: "0" }).server.listen, "[::1]:0")
    assert.equal(parse('server.listen = ":1"', { PORT: "5" }).server.listen, ":5")
    assert.equal(parse("", { PORT: "" }).server.listen, "127.0.0.1:3000")
  })

  it("keeps plugins in the order of the file", () => {
    assert.deepEqual(Object.keys(parse("[plugins.zeta]\n[plugins.alpha]\n[plugins.mid]\n").plugins), [
      "zeta",
      "alpha",
      "mid",
    ])
  })

  it("takes the documented plugin forms of every tier", () => {
    const { plugins } = parse(`[plugins.analytics]
sandbox = "wasm"
path = "plugins/geo"
version = "^0.2.0"
[plugins.analytics.fuel]
on_server_start = 1_000_000_000
on_request_complete = 50_000_000

[plugins.fraud-detector]
path = "plugins/geo"
priority = 650
[plugins.fraud-detector.sandbox]
type = "nsjail"
max_memory_mb = 128
max_time_secs = 30
storage_quota_kb = 10240
interpreter = "python3"

[plugins.table-only.sandbox]
max_memory_mb = 32
`)
    assert.deepEqual(
      { ...plugins.analytics?.fuel },
      { on_server_start: 1_000_000_000, on_request_complete: 50_000_000 },
    )
    assert.equal(plugins["fraud-detector"]?.sandbox, "nsjail")
    assert.equal(plugins["fraud-detector"]?.interpreter, "python3")
    assert.deepEqual(
      { ...plugins["fraud-detector"]?.limits },
      { max_memory_mb: 128, max_time_secs: 30, storage_quota_kb: 10240 },
    )
    assert.equal(plugins["table-only"]?.sandbox, undefined)
    assert.equal(plugins["table-only"]?.limits.max_memory_mb, 32)
  })

  it("leaves what a grant does not mention undecided, which is not refused", () => {
    const { grant } = parse("[plugins.a.grant]\nidentity = true\nqueues = []").plugins.a!
    assert.deepEqual(grant, { identity: true, queues: [] })
  })

  it("ignores a byte order mark and Windows line ends", () => {
    assert.equal(parse('\uFEFF[server]\r\nlisten = ":1"\r\n').server.listen, ":1")
    assert.deepEqual(problemsOf("\uFEFF[server]\r\nlimits.bodi = 1\r\n").length, 1)
  })

  it("can be made by a program", () => {
    const config = createConfig({ app: { static: "public" } }, { folder, env: {} })
    assert.equal(config.app.static, join(folder, "public"))
    assert.throws(() => createConfig({ app: { static: "publik" } }, { folder, env: {} }), { code: "E_CONFIG_INVALID" })
  })
})

describe("a mistake in the configuration", () => {
  it("is reported with all others, each at its place", () => {
    assert.deepEqual(
      problemsOf(`[server]
lisen = "127.0.0.1:3000"
listen = "localhost"
[log]
level = "inf"
[plugins.a]
sandbox = "quick-js"
on_error = "opened"
`),
      [
        "2:1 server.lisen: unknown key | did you mean listen? | allowed: listen, processes, trusted_proxies, identity_headers, grace, limits",
        '3:10 server.listen: expected "ADDRESS:PORT", "[IPv6]:PORT" or ":PORT" (every address), port 0 to 65535, found "localhost"',
        '5:9 log.level: expected "debug", "info", "warn", "error" or "silent", found "inf" | did you mean "info"?',
        '7:11 plugins.a.sandbox: expected "quickjs", "wasm" or "nsjail", found "quick-js" | did you mean "quickjs"?',
        '8:12 plugins.a.on_error: expected "closed" or "open", found "opened" | did you mean "open"?',
      ],
    )
  })

  it("in one section does not hide those that need several fields in others", () => {
    const problems = problemsOf(`[log]
levl = "info"
[[routes]]
path = "/a"
static = "public"
[[routes]]
path = "/a"
static = "public"
[plugins.broken]
sandbox = 3
[plugins.geo]
path = "plugins/nowhere"
`)
    assert.deepEqual(
      problems.map((problem) => problem.split(":", 3).slice(0, 2).join(":")),
      ["2:1 log.levl", "7:8 routes.1.path", "10:11 plugins.broken.sandbox", "12:8 plugins.geo.path"],
    )
  })

  it("shows the line, a marker and the code", () => {
    const { message, code } = errorOf('[server]\nlisten = "x"\n')
    assert.equal(code, "E_CONFIG_INVALID")
    assert.match(message, /bext\.config\.toml:2:10 {2}server\.listen: expected/)
    assert.match(message, /\n {4}2 \| listen = "x"\n {6}\| {10}\^\^\^\n/)
    assert.match(message, /\[E_CONFIG_INVALID\]$/)
  })

  it("of the syntax names line and column", () => {
    const error = errorOf('[server]\nlisten = "127.0.0.1:3000\n')
    assert.match(error.message, /bext\.config\.toml:2:\d+ {2}not valid TOML: /)
    assert.match(errorOf("[log]\nlevel = info\n").message, /text needs quotes: "info"/)
    assert.match(errorOf("[log]\nlevel: 1\n").message, /TOML separates key and value by "="/)
    assert.match(errorOf("a = 1\na = 2\n").message, /may appear once/)
  })

  it("is explained for the documented form that is not TOML", () => {
    const error = errorOf(`[plugins.fraud-detector]
sandbox = "nsjail"
path = "plugins/geo"

[plugins.fraud-detector.sandbox]
max_memory_mb = 128
`)
    assert.match(error.message, /bext\.config\.toml:5:/)
    assert.match(error.message, /plugins\.fraud-detector\.sandbox is already a string/)
    assert.match(error.message, /write \[plugins\.fraud-detector\.limits\] here instead/)
  })

  const cases: [title: string, text: string, expected: RegExp][] = [
    [
      "a tenant that does not exist",
      '[middleware.tenant]\n[[tenants]]\nid = "acme"\nhosts = ["a.com"]\n[plugins.a]\nmatch = [{ tenants = ["acne"] }]',
      /6:23 plugins\.a\.match\.0\.tenants\.0: \[\[tenants\]\] has no "acne" \| did you mean "acme"\?/,
    ],
    [
      "tenants by host without hosts",
      "[middleware.tenant]",
      /middleware\.tenant\.by\.0: finding tenants by host needs \[\[tenants\]\] with hosts/,
    ],
    [
      "tenants by path without tenants",
      '[middleware.tenant]\nby = ["path"]',
      /2:7 middleware\.tenant\.by\.0: finding tenants by path needs/,
    ],
    [
      "what only programs have, where the tier is named",
      '[plugins.a]\nsandbox = "quickjs"\nlimits.cpus = 0.5\njails = 2',
      /3:8 plugins\.a\.limits\.cpus: cpus is for programs \(nsjail\); this plugin runs in quickjs \| remove it[\s\S]*4:1 plugins\.a\.jails/,
    ],
    ["more jails than there may be", "[plugins.a]\njails = 65", /2:9 plugins\.a\.jails: expected .*64/],
    ["a level that is none", '[sandbox.nsjail]\nmin_isolation = "none"', /expected "full", "namespaces" or "process"/],
    ["a relative path for a program", '[plugins.a]\nread_only_paths = ["data"]', /expected an absolute path such as/],
    ["the whole machine for a program", '[plugins.a]\nread_only_paths = ["/"]', /the whole machine is no path/],
    [
      "a path for a program that climbs",
      '[plugins.a]\nread_only_paths = ["/usr/../etc"]',
      /without \/\/, \. and \.\. .* \| write "\/etc"/,
    ],
    ["what a jail has itself", '[plugins.a]\nread_only_paths = ["/proc/1"]', /\/proc is not this machine's in a jail/],
    ["a path with NUL", '[plugins.a]\nread_only_paths = ["/a\\u0000b"]', /expected an absolute path/],
    ["the word of another program", "[server]\nport = 3000", /did you mean listen\?/],
    ["a key of another section", '[server]\nstatic_dir = "public"', /static belongs in \[app\]/],
    [
      "a key of plugin.toml",
      '[plugins.a]\ncapabilities = ["middleware"]',
      /capabilities belongs in the plugin's plugin\.toml/,
    ],
    ["a built-in by another name", "[middleware.jwt]", /did you mean auth\?/],
    ["text instead of a list of tables", "[plugins.a]\nmatch = '/a'", /write a list: match = \[\{ path = "\/a" \}\]/],
    ["a table instead of a list of them", "[routes]\npath = '/a'", /write a list of tables: \[\[routes\]\]/],
    ["yes", '[plugins.a]\nenabled = "yes"', /write it without quotes: enabled = true/],
    ["an unknown section", "[middlware.cors]", /1:2 middlware: unknown key \| did you mean middleware\?/],
    ["camelCase", "[plugins.a]\nonError = 'open'", /did you mean on_error\?/],
    ["a key one level too high", "[plugins.a]\nmax_memory_mb = 3", /max_memory_mb belongs in \[plugins\.a\.limits\]/],
    ["a plugin's setting in the wrong table", "[plugins.a]\nhsts = 3", /settings go in \[plugins\.a\.config\]/],
    ["a hook in camelCase", "[plugins.a.fuel]\nonRequest = 3", /did you mean on_request\?/],
    ["a hook that there is not", "[plugins.a.fuel]\non_reqest = 3", /on_reqest: .*did you mean on_request\?/],
    ["no fuel", "[plugins.a.fuel]\non_request = 0", /plugins\.a\.fuel\.on_request: expected at least 1, found 0/],
    ["less than no fuel", "[plugins.a.fuel]\ncleanup = -5", /expected at least 1, found -5/],
    ["half a unit of fuel", "[plugins.a.fuel]\ncleanup = 0.5", /expected a whole number, found 0\.5/],
    ["a ceiling without fuel", "[sandbox.ceilings]\nmax_fuel = 0", /max_fuel: expected at least 1, found 0/],
    [
      "fuel on another tier",
      'plugins.a = { sandbox = "quickjs", fuel = { on_request = 3 } }',
      /fuel is for the wasm tier/,
    ],
    [
      "a number in quotes",
      '[plugins.a]\npriority = "650"',
      /expected a whole number, found "650" \| write it without quotes: priority = 650/,
    ],
    ["a fraction", "[plugins.a]\npriority = 6.5", /expected a whole number, found 6\.5/],
    ["a value out of range", "[server.limits]\nheader_count = 0", /expected at least 1, found 0/],
    [
      "text instead of a list",
      "[middleware.cors]\norigins = '*'",
      /expected a list, found "\*" \| write a list: origins = \["\*"\]/,
    ],
    [
      "a missing field",
      "[[routes]]\nstatic = 'public'",
      /1:3 routes\.0\.path: missing; expected text in quotes \| add: path = /,
    ],
    [
      "websockets that lead nowhere",
      "[[routes]]\npath = '/live'\nstatic = 'public'\nwebsockets = true",
      /1:3 routes.*: websockets = true needs an upstream/,
    ],
    [
      "a missing field of an inline table",
      "middleware.rate_limit = { requests = 1 }",
      /1:12 middleware\.rate_limit\.window: missing/,
    ],
    ["a bad plugin name", "[plugins.Geo_Block]", /1:10 plugins\.Geo_Block: .* \| write geo-block/],
    ["a built-in's name", "[plugins.cors]", /"cors" is the name of a built-in/],
    [
      "a date",
      "[plugins.a.config]\nx = { y = 1979-05-27 }",
      /2:11 plugins\.a\.config\.x\.y: dates are not supported here/,
    ],
    ["an unknown size", '[server.limits]\nbody = "10 MB"', /expected a size .* \| write "10mb"/],
    ["an unknown duration", '[server]\ngrace = "10 seconds"', /expected a duration .* \| write "10s"/],
    [
      "a size without unit",
      "[server.limits]\nbody = 100",
      /expected text in quotes, found 100 \| write text in quotes, such as body = "64kb"/,
    ],
    ["no time", '[server]\ngrace = "0s"', /expected more than nothing/],
    ["more time than a timer takes", '[server]\ngrace = "60d"', /expected at most 24d/],
    ["a port alone", '[server]\nlisten = "3000"', /write "127\.0\.0\.1:3000"/],
    ["a port out of range", '[server]\nlisten = ":70000"', /server\.listen: expected/],
    [
      "a bad proxy range",
      '[server]\ntrusted_proxies = ["10.0.0.0/8", "10.1/8"]',
      /2:34 server\.trusted_proxies\.1: expected an address/,
    ],
    ["a range with host bits", '[server]\ntrusted_proxies = ["10.0.0.1/8"]', /write "10\.0\.0\.0\/8"/],
    ["a bad header name", '[server]\nidentity_headers = ["x user"]', /expected a header name/],
    ["a relative glob", '[[routes]]\npath = "api/**"\nstatic = "public"', /write "\/api\/\*\*"/],
    ["a glob that never matches", '[[routes]]\npath = "/a//b"\nstatic = "public"', /expected a normalised path/],
    ["a glob with braces", '[[routes]]\npath = "/{a,b}"\nstatic = "public"', /one entry for each alternative/],
    ["a route without handler", '[[routes]]\npath = "/a"', /expected exactly one of static and upstream/],
    [
      "a route with two handlers",
      '[[routes]]\npath = "/a"\nstatic = "public"\nupstream = "http://127.0.0.1"',
      /expected exactly one of static and upstream/,
    ],
    [
      "the same route twice",
      '[[routes]]\npath = "/a"\nstatic = "public"\n[[routes]]\npath = "/a"\nstatic = "public"',
      /5:8 routes\.1\.path: "\/a" is there twice/,
    ],
    ["an upstream without scheme", '[app]\nupstream = "127.0.0.1:4000"', /write "http:\/\/127\.0\.0\.1:4000"/],
    [
      "an identity header that HTTP itself needs",
      '[server]\nidentity_headers = ["x-user", "Host"]',
      /2:31 server\.identity_headers\.1: Host belongs to HTTP itself/,
    ],
    ["a missing folder", '[app]\nstatic = "nowhere"', /2:10 app\.static: there is no folder .*nowhere/],
    ["a file for a folder", '[app]\nstatic = "502.html"', /expected a folder, .*502\.html is a file/],
    ["a missing error page", '[errors]\n404 = "404.html"', /2:7 errors\.404: there is no file/],
    ["a folder for an error page", '[errors]\n404 = "public"', /expected a file/],
    ["an error page for a success", '[errors]\n200 = "502.html"', /2:1 errors\.200: expected a status from 400 to 599/],
    ["an origin with a path", '[middleware.cors]\norigins = ["https://a.com/"]', /write "https:\/\/a\.com"/],
    ["the null origin with credentials", '[middleware.cors]\norigins = ["null"]\ncredentials = true', /every site/],
    [
      "an origin with its default port",
      '[middleware.cors]\norigins = ["https://a.com:443"]',
      /write "https:\/\/a\.com"/,
    ],
    ["a regex that does not compile", '[middleware.cors]\norigins = ["/(/"]', /expected a regex in RE2 syntax/],
    ["a regex that is not linear", '[middleware.cors]\norigins = ["/(a)\\\\1/"]', /expected a regex in RE2 syntax/],
    [
      "any origin with credentials",
      '[middleware.cors]\norigins = ["*"]\ncredentials = true',
      /3:15 middleware\.cors\.credentials: .*every site/,
    ],
    ["a method in small letters", '[middleware.cors]\norigins = ["*"]\nmethods = ["get"]', /write "GET"/],
    ["no algorithm", '[middleware.auth]\nalgorithms = []\nkey_file = "key.pem"', /but no algorithms/],
    [
      "a gate that nobody can pass",
      '[middleware.auth]\npublic = ["/"]',
      /middleware\.auth: nothing .* who the user is/,
    ],
    ["a cookie for tokens without algorithms", '[middleware.auth]\ncookie = "jwt"', /but no algorithms/],
    ...Object.entries({
      "without secrets": ["secrets = []", /expected at least 1 entry/],
      "with a secret in the file": ['secrets = ["hunter2"]', /secrets\.0: expected "env:NAME"/],
      "with one secret twice": ['secrets = ["env:JWT", "env:JWT"]', /the same secret twice/],
      "without login paths": ["login_paths = []", /expected at least 1 entry/],
      "with a __Host- cookie over http": ['cookie = "__Host-s"\nsecure = false', /need secure = true/],
      "with a __secure- cookie over http": ['cookie = "__secure-s"\nsecure = false', /need secure = true/],
      "with a __Host- cookie of a domain": ['cookie = "__Host-s"\ndomain = "a.com"', /without domain/],
      "with a __Host- cookie of a path": ['cookie = "__Host-s"\npath = "/app"', /path = "\/"/],
      "for other sites over http": ['same_site = "none"\nsecure = false', /need secure = true/],
      "with attributes in the cookie's name": ['cookie = "s; Domain=evil.example"', /expected the name of a cookie/],
      "with attributes in the path": ['path = "/; Domain=evil.example"', /expected a path/],
      "that is idle longer than it lasts": ['idle = "2d"\nabsolute = "1d"', /idle is longer than absolute/],
    } satisfies Record<string, [string, RegExp]>).map(([what, [lines, message]]): [string, string, RegExp] => {
      const keys = lines.split("\n").map((line) => line.split(" ")[0])
      const defaults = ['secrets = ["env:JWT"]', 'login_paths = ["/login"]']
      const rest = defaults.filter((line) => !keys.includes(line.split(" ")[0]))
      return [`a session ${what}`, ["[middleware.session]", ...rest, lines].join("\n"), message]
    }),
    [
      "a session and a token in one cookie",
      '[middleware.session]\nsecrets = ["env:JWT"]\nlogin_paths = ["/login"]\n[middleware.auth]\nalgorithms = ["RS256"]\nkey_file = "key.pem"\ncookie = "__Host-session"',
      /__Host-session is the cookie of \[middleware\.session\]/,
    ],
    [
      "any origin in the private network",
      '[middleware.cors]\norigins = ["*"]\nprivate_network = true',
      /every site into the private network/,
    ],
    [
      "a rate by user without users",
      '[middleware.rate_limit]\nrequests = 1\nwindow = "1s"\nby = "user"',
      /rate_limit\.by: a user or a claim needs/,
    ],
    [
      "a rate by tenant without tenants",
      '[middleware.rate_limit]\nrequests = 1\nwindow = "1s"\nrules = [{ path = "/", requests = 1, window = "1s", by = "tenant" }]',
      /rate_limit\.rules\.0\.by: counting by tenant needs/,
    ],
    ["the algorithm none", '[middleware.auth]\nalgorithms = ["none"]\nkey_file = "key.pem"', /expected "HS256"/],
    [
      "two keys",
      '[middleware.auth]\nalgorithms = ["RS256"]\nkey_file = "key.pem"\njwks_file = "key.pem"',
      /expected exactly one of/,
    ],
    [
      "a public key used as a password",
      '[middleware.auth]\nalgorithms = ["RS256", "HS256"]\nkey_file = "key.pem"',
      /a password everybody knows/,
    ],
    [
      "keys over plain HTTP",
      '[middleware.auth]\nalgorithms = ["RS256"]\njwks_url = "http://id.example.com/k"',
      /expected https/,
    ],
    [
      "two tenants of one host",
      '[[tenants]]\nid = "a"\nhosts = ["x.com"]\n[[tenants]]\nid = "b"\nhosts = ["x.com"]',
      /6:10 tenants\.1\.hosts\.0: "x\.com" is there twice/,
    ],
    ["two tenants of one id", '[[tenants]]\nid = "a"\n[[tenants]]\nid = "a"', /4:6 tenants\.1\.id/],
    ["a host with a scheme", '[[tenants]]\nid = "a"\nhosts = ["https://X.com/a"]', /write "x\.com"/],
    [
      "a tenant by claim without users",
      '[middleware.tenant]\nby = ["claim:org"]',
      /2:7 middleware\.tenant\.by\.0: a claim needs \[middleware\.auth\]/,
    ],
    [
      "tenants before the resolver",
      '[middleware.tenant]\n[plugins.a]\npriority = 400\nmatch = [{ tenants = ["x"] }]',
      /3:12 plugins\.a\.priority: .* above 400/,
    ],
    ["tenants without resolver", '[plugins.a]\nmatch = [{ tenants = ["x"] }]', /needs \[middleware\.tenant\]/],
    ["a match of nothing", "[plugins.a]\nmatch = [{}]", /expected at least one of path, methods, hosts and tenants/],
    [
      "one limit in two units",
      "[plugins.a.limits]\nmax_time_secs = 1\nmax_time_ms = 1000",
      /3:15 .*the same limit twice/,
    ],
    [
      "one limit in two tables",
      "[plugins.a.sandbox]\nmax_memory_mb = 1\n[plugins.a.limits]\nmax_memory_mb = 2",
      /2:17 plugins\.a\.sandbox\.max_memory_mb: already set in limits/,
    ],
    ["a version range", '[plugins.a]\nversion = "newest"', /expected a version or range/],
    ["a private range to fetch from", '[fetch]\nallow_private = ["10.0.0.0/8"]', /expected one address and one port/],
    ["a prototype key", "__proto__ = 1", /__proto__: unknown key/],
  ]
  for (const [title, text, expected] of cases) {
    it(`is named when it is ${title}`, () => assert.match(problemsOf(text).join("\n"), expected))
  }

  it("finds quoted, dotted and inline keys", () => {
    assert.match(problemsOf('"log".levl = 1').join(), /^1:7 log\.levl/)
    assert.match(problemsOf("log = { access = true, levl = 1 }").join(), /^1:24 log\.levl/)
    assert.match(
      problemsOf('[plugins."a"]\n[[plugins.a.match]]\n[[plugins.a.match]]\npaht = "/x"').join("\n"),
      /4:1 plugins\.a\.match\.1\.paht/,
    )
  })

  it("is refused for a port that is none", () => {
    assert.match(problemsOf("", { PORT: "http" }).join(), /the environment variable PORT is "http"/)
    assert.match(problemsOf("", { PORT: "65536" }).join(), /PORT/)
  })

  it("can be reported later with its place in the file", () => {
    const config = parse('[plugins.geo]\npath = "plugins/geo"\n')
    const error = configError(config, [{ path: ["plugins", "geo", "path"], what: "no manifest" }])
    assert.deepEqual(summarise(error), ["2:8 plugins.geo.path: no manifest"])
  })

  it("cannot write to the terminal through the file's own text", () => {
    const { message } = errorOf('"\\u001b[31mx" = 1\n"\\u202Ey\u202e" = "\u009b2J"\n')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these must not be there
    assert.doesNotMatch(message, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
  })

  it("in a very long line is shown cut", () => {
    const { message } = errorOf(`[log]\nlevel = "${"x".repeat(5000)}"\n`)
    assert.ok(
      message.split("\n").every((line) => line.length < 250),
      message,
    )
  })

  it("in a huge or deeply nested file is an error, not a crash", () => {
    assert.match(errorOf(`a = ${"[".repeat(100_000)}`).message, /not valid TOML/)
    assert.match(errorOf(`#${"x".repeat(2_000_000)}`).message, /the most is/)
    assert.match(errorOf(`${"a.".repeat(50_000)}b = 1`).message, /more than 64 tables/)
  })
})

describe("secrets", () => {
  const hmac = '[middleware.auth]\nalgorithms = ["HS256"]\n'

  it("are read from the environment and never printed", () => {
    const config = parse(`${hmac}secret = "env:JWT_SECRET"\n[plugins.pay]\nsecrets = { STRIPE = "env:STRIPE_KEY" }\n`, {
      JWT_SECRET: "hunter2hunter2",
      STRIPE_KEY: "sk_live_1",
    })
    assert.equal(config.middleware.auth?.secret?.reveal(), "hunter2hunter2")
    assert.equal(config.plugins.pay?.secrets.STRIPE?.reveal(), "sk_live_1")
    for (const printed of [
      JSON.stringify(config),
      inspect(config, { depth: 20, showHidden: true }),
      `${config.middleware.auth?.secret}`,
    ]) {
      assert.doesNotMatch(printed, /hunter2|sk_live/)
      assert.match(printed, /env:JWT_SECRET/)
    }
  })

  it("that are missing are all named, with field and variable", () => {
    const error = errorOf(
      `${hmac}secret = "env:JWT_SECRET"\n[plugins.pay]\nsecrets = { STRIPE = "env:STRIPE_KEY" }\n`,
      {
        STRIPE_KEY: "",
      },
    )
    assert.equal(error.code, "E_CONFIG_SECRET_MISSING")
    assert.deepEqual(
      summarise(error).map((problem) => problem.split(" | ")[0]),
      [
        "3:10 middleware.auth.secret: the environment variable JWT_SECRET is not set",
        "5:22 plugins.pay.secrets.STRIPE: the environment variable STRIPE_KEY is empty",
      ],
    )
  })

  it("of a plugin that is switched off are not asked for", () => {
    parse('[plugins.pay]\nenabled = false\nsecrets = { STRIPE = "env:STRIPE_KEY" }\n')
  })

  const leaks: [title: string, text: string][] = [
    ["as the value", `${hmac}secret = "hunter2"\n`],
    ["in an inline table with another mistake", 'middleware.auth = { algoritms = [], secret = "hunter2" }'],
    ["under a mistyped key", `${hmac}secrt = "hunter2"\n`],
    ["under a bad name", '[plugins.a]\nsecrets = { stripe = "hunter2" }\n'],
    ["of the wrong type", `${hmac}secret = ["hunter2"]\n`],
    ["in an unfinished string", `${hmac}secret = "hunter2\n`],
    ["without quotes", `${hmac}secret = hunter2\n`],
    ["in a URL", '[app]\nupstream = "http://me:hunter2@127.0.0.1:1"\n'],
    [
      "in a plugin's own settings next to a mistake",
      '[plugins.a]\nconfig = { api_key = "hunter2", at = 1979-05-27 }\n',
    ],
  ]
  for (const [title, text] of leaks) {
    it(`written into the file ${title} do not reach the error`, () =>
      assert.doesNotMatch(errorOf(text).message, /hunter2/))
  }
})
