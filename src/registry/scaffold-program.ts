import type { Scaffold, Toolchain } from "./scaffold.ts"
import { scaffoldTest } from "./scaffold-test.ts"

export const PROGRAM_LANGUAGES = ["python", "ruby", "shell"] as const
export type ProgramLanguage = (typeof PROGRAM_LANGUAGES)[number]

interface Template {
  /** As people write it. */
  readonly title: string
  readonly interpreter: string
  readonly entry: string
  readonly code: string
  /** Files besides those that all have. */
  readonly more: Readonly<Record<string, string>>
  /** A request that is greeted, as the test and as a client of a server sends it, and the answer. */
  readonly request: string
  readonly greeting: string
  /** Calls the program by hand, in the plugin's folder. */
  readonly byHand: string
  readonly needs: Toolchain
  /** Paths for .gitignore. */
  readonly ignored: readonly string[]
}

/** A new plugin that runs as a process of its own. */
export function scaffoldProgram(name: string, language: ProgramLanguage): Scaffold {
  const template = TEMPLATES[language]
  const { entry, code, more, request, greeting, needs, ignored } = template
  const files = new Map([
    ["plugin.toml", manifest(name, template)],
    [entry, code],
    ["test/plugin.test.mjs", scaffoldTest(JSON.stringify(request), greeting)],
    ["README.md", readme(name, template)],
    ...Object.entries(more),
    [".gitignore", ["node_modules/", ...ignored, ""].join("\n")],
  ])
  return { files, shown: [...files.keys()], build: null, needs, link: "always" }
}

const manifest = (name: string, { interpreter, entry }: Template) => `[manifest]
name = "${name}"
version = "0.1.0"
description = "Greets visitors of /hello"
capabilities = ["middleware"]
entry = "${entry}"

[sandbox]
type = "nsjail"
interpreter = "${interpreter}"

# What the plugin may do beyond seeing requests is asked for here and granted by the operator:
# [permissions]
# allowed_urls = ["https://api.example.com/**"]
`

const PYTHON_CODE = `import bext


@bext.on_request
def greet(ctx):
    if ctx.path == "/hello":
        name = ctx.search_params.get("name", "world")
        return bext.respond(200, f"Hello, {name}!")


@bext.on_response
def tell(ctx):
    ctx.response.set_header("x-greeted", "yes")


bext.run()
`

const RUBY_CODE = `require "json"
require "uri"

def on_request(request)
  return {} unless request["path"] == "/hello"

  name = URI.decode_www_form(request["query"]).to_h.fetch("name", "world")
  { action: "respond", status: 200, body: "Hello, #{name}!" }
end

def on_response(_request)
  { set_headers: { "x-greeted" => "yes" } }
end

HOOKS = { "onRequest" => method(:on_request), "onResponse" => method(:on_response) }.freeze

# The rest is the protocol: one JSON object a line. Standard output is the host's, so what is printed goes to the log.
HOST = $stdout.dup
HOST.sync = true
$stdout.reopen($stderr)
$stdin.set_encoding("UTF-8")

$stdin.each_line do |line|
  id, method, params = JSON.parse(line).values_at("id", "method", "params")
  next if id.nil? # "cancel" and "leader" want no answer.

  begin
    answer = method == "hello" ? { protocol: 1, hooks: HOOKS.keys } : HOOKS.fetch(method).call(params)
    HOST.puts(JSON.generate({ id: id, ok: true }.merge(answer)))
  rescue StandardError => error
    warn(error.full_message(highlight: false))
    HOST.puts(JSON.generate({ id: id, error: "#{error.class}: #{error.message}" }))
  end
end
`

const SHELL_CODE = `# For each line of the host this program writes one line: what it answers, or an empty one to go on.

while IFS= read -r line; do
  answer=
  case $line in
    '{"method":"onRequest","params":{"method":"'*'","path":"/hello",'*)
      answer='{"ok":true,"action":"respond","status":200,"body":"Hello, world!"}'
      ;;
    '{"method":"onResponse",'*)
      answer='{"ok":true,"set_headers":{"x-greeted":"yes"}}'
      ;;
  esac
  printf '%s\\n' "$answer"
done
`

const CALL = '{"method":"onRequest","params":{"method":"GET","path":"/hello","query":"name=Ada"},"id":1}'

const TEMPLATES: Readonly<Record<ProgramLanguage, Template>> = {
  python: {
    title: "Python",
    interpreter: "python3",
    entry: "main.py",
    code: PYTHON_CODE,
    // Editors find the types of the package in the installed bext.
    more: { "pyrightconfig.json": `${JSON.stringify({ extraPaths: ["node_modules/bext/sdk/python"] }, null, 2)}\n` },
    request: "/hello?name=Ada",
    greeting: "Hello, Ada!",
    byHand: `echo '${CALL}' |\n  PYTHONPATH=node_modules/bext/sdk/python python3 main.py`,
    needs: { what: "Python 3.9 or newer (Debian: apt install python3)", programs: ["python3"] },
    ignored: ["__pycache__/"],
  },
  ruby: {
    title: "Ruby",
    interpreter: "ruby",
    entry: "main.rb",
    code: RUBY_CODE,
    more: {},
    request: "/hello?name=Ada",
    greeting: "Hello, Ada!",
    byHand: `echo '${CALL}' | ruby main.rb`,
    needs: { what: "Ruby 2.7 or newer (Debian: apt install ruby)", programs: ["ruby"] },
    ignored: [],
  },
  shell: {
    title: "shell",
    interpreter: "sh",
    entry: "main.sh",
    code: SHELL_CODE,
    more: {},
    request: "/hello",
    greeting: "Hello, world!",
    byHand: `echo '${CALL}' | sh main.sh`,
    needs: { what: "a POSIX shell", programs: ["sh"] },
    ignored: [],
  },
}

function readme(name: string, { title, entry, byHand }: Template): string {
  return `# ${name}

A plugin for bext, written in ${title} and run as a process of its own, in a jail.

| | |
|---|---|
| \`plugin.toml\` | what the plugin is and what it asks for |
| \`${entry}\` | its code |
| \`test/plugin.test.mjs\` | its test: real jail, real requests |

Call it by hand, in this folder:

\`\`\`sh
${byHand}
\`\`\`

Test it, with Node.js 24 or newer (\`node_modules/bext\` is a link to bext; where it is missing, \`npm link bext\`):

\`\`\`sh
node --test
\`\`\`

On Linux the jail is made by bubblewrap (Debian: \`apt install bubblewrap\`); \`bext doctor\` says how well this machine isolates.

Use it: in \`bext.config.toml\`

\`\`\`toml
[plugins.${name}]
path = "path/to/this/folder"
\`\`\`

Develop it: \`bext dev\` serves the site and takes over every change of these files.
`
}
