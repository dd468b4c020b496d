import type { Scaffold } from "./scaffold.ts"
import { scaffoldTest } from "./scaffold-test.ts"

type Language = "js" | "ts"

/** A new plugin in JavaScript or TypeScript. */
export function scaffoldScript(name: string, language: Language): Scaffold {
  const files = new Map([
    ["plugin.toml", MANIFEST.replace("NAME", name)],
    [`src/index.${language}`, language === "ts" ? CODE_TS : CODE_JS],
    [`test/plugin.test.${language}`, scaffoldTest('"/hello?name=Ada"', "Hello, Ada!")],
    ["README.md", readme(name, language)],
    ["package.json", packageJson(name)],
    language === "ts" ? ["tsconfig.json", compilerOptions({})] : ["jsconfig.json", compilerOptions({ checkJs: true })],
    [".gitignore", "node_modules/\n"],
  ])
  return { files, shown: [...files.keys()], build: null, needs: null, link: "missing" }
}

const MANIFEST = `[manifest]
name = "NAME"
version = "0.1.0"
description = "Greets visitors of /hello"
capabilities = ["middleware"]

# What the plugin may do beyond seeing requests is asked for here and granted by the operator:
# [permissions]
# allowed_urls = ["https://api.example.com/**"]
`

const CODE_TS = `import type { Plugin } from "bext/plugin"

export default {
  onRequest(ctx) {
    if (ctx.path !== "/hello") return
    const name = ctx.searchParams.get("name") ?? "world"
    return new Response(\`Hello, \${name}!\`)
  },

  onResponse(ctx) {
    ctx.response.setHeader("x-greeted", "yes")
  },
} satisfies Plugin
`

const CODE_JS = `/** @type {import("bext/plugin").Plugin} */
export default {
  onRequest(ctx) {
    if (ctx.path !== "/hello") return
    const name = ctx.searchParams.get("name") ?? "world"
    return new Response(\`Hello, \${name}!\`)
  },

  onResponse(ctx) {
    ctx.response.setHeader("x-greeted", "yes")
  },
}
`

function readme(name: string, language: Language): string {
  return `# ${name}

A plugin for bext.

| | |
|---|---|
| \`plugin.toml\` | what the plugin is and what it asks for |
| \`src/index.${language}\` | its code, run in a sandbox |
| \`test/plugin.test.${language}\` | its test: real sandbox, real requests |

Test it, with Node.js 24 or newer (\`bext/plugin\` and \`bext/testing\` come with bext; where they are not found,
\`npm link bext\`):

\`\`\`sh
node --test
\`\`\`

Use it: in \`bext.config.toml\`

\`\`\`toml
[plugins.${name}]
path = "path/to/this/folder"
\`\`\`

Develop it: \`bext dev\` serves the site and takes over every change of these files.
`
}

function packageJson(name: string): string {
  const fields = { name, version: "0.1.0", private: true, type: "module", scripts: { test: "node --test" } }
  return `${JSON.stringify(fields, null, 2)}\n`
}

/** For editors and \`tsc\`: the plugin's code. It runs neither in Node nor in a page, but has the web's globals. */
function compilerOptions(more: Readonly<Record<string, boolean>>): string {
  const fields = {
    compilerOptions: {
      ...more,
      target: "esnext",
      module: "nodenext",
      lib: ["esnext", "webworker"],
      types: [],
      noEmit: true,
      strict: true,
      erasableSyntaxOnly: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true,
    },
    include: ["src"],
  }
  return `${JSON.stringify(fields, null, 2)}\n`
}
