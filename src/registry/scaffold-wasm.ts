import { readdirSync, readFileSync } from "node:fs"
import { join, posix } from "node:path"
import { fileURLToPath } from "node:url"
import type { Scaffold } from "./scaffold.ts"
import { scaffoldTest } from "./scaffold-test.ts"

export const WASM_LANGUAGES = ["rust", "go", "c", "assemblyscript"] as const
export type WasmLanguage = (typeof WASM_LANGUAGES)[number]

interface Template {
  /** As people write it. */
  readonly title: string
  /** What of sdk/ the plugin carries: files and folders there → where they are in the plugin. */
  readonly sdk: Readonly<Record<string, string>>
  /** The plugin's own. `NAME` is its name. */
  readonly files: Readonly<Record<string, string>>
  /** Of `files`, the one with the code. */
  readonly code: string
  /** Run in the plugin's folder, makes plugin.wasm. */
  readonly build: string
  /** What has to be there, and where it comes from. */
  readonly toolchain: string
  /** Programs of the toolchain. */
  readonly programs: readonly string[]
  /** Run once, before the first build. */
  readonly once?: string
  /** Folders and files the build makes, besides plugin.wasm. */
  readonly built: readonly string[]
}

/** A new plugin that is compiled to WebAssembly, the SDK of its language included. */
export function scaffoldWasm(name: string, language: WasmLanguage): Scaffold {
  const template = TEMPLATES[language]
  const { build, toolchain, programs, once = null } = template
  const own = Object.entries(template.files).map(([file, text]): [string, string] => [
    file,
    text.replaceAll("NAME", name),
  ])
  const files: [string, string][] = [
    ["plugin.toml", MANIFEST.replace("NAME", name)],
    ...own,
    ["test/plugin.test.mjs", TEST],
    ["README.md", readme(name, template)],
    [".gitignore", ["plugin.wasm", ...template.built, "node_modules/", ""].join("\n")],
  ]
  const sdk = Object.entries(template.sdk)
  return {
    files: new Map([...files, ...sdk.flatMap(([from, to]) => read(join(SDK, from), to))]),
    shown: [...files.map(([file]) => file), ...sdk.map(([, to]) => to)],
    build: { command: build, once },
    needs: { what: toolchain, programs },
    link: "test",
  }
}

/** Beside `src/`, wherever bext is installed. */
const SDK = fileURLToPath(new URL("../../sdk/", import.meta.url))

/** A file, or all files of a folder but its examples. */
function read(path: string, name: string): [string, string][] {
  try {
    return readdirSync(path)
      .filter((file) => file !== "examples" && !file.startsWith("."))
      .sort()
      .flatMap((file) => read(join(path, file), posix.join(name, file)))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOTDIR") throw error
    return [[name, readFileSync(path, "utf8")]]
  }
}

const MANIFEST = `[manifest]
name = "NAME"
version = "0.1.0"
description = "Greets visitors of /hello"
capabilities = ["middleware"]

[sandbox]
type = "wasm"

# What the plugin may do beyond seeing requests is asked for here and granted by the operator:
# [permissions]
# allowed_urls = ["https://api.example.com/**"]
`

const TEST = scaffoldTest('"/hello", { headers: { "x-name": "Ada" } }', "Hello, Ada!")

const RUST_CODE = `use bext_plugin::{Answer, Outcome, Request, Response, Result};

bext_plugin::export! {
    on_request: greet,
    on_response: tell,
}

fn greet(request: &mut Request) -> Result<Outcome> {
    if request.path() != "/hello" {
        return Ok(Outcome::Continue);
    }
    let name = request.header("x-name")?.unwrap_or_else(|| "world".into());
    Ok(Answer::new(200).body(format!("Hello, {name}!")).into())
}

fn tell(_request: &Request, response: &mut Response) -> Result<()> {
    response.set_header("x-greeted", "yes")
}
`

const CARGO = `[package]
name = "NAME-plugin"
version = "0.1.0"
edition = "2021"
publish = false

[lib]
name = "plugin"
crate-type = ["cdylib"]

[dependencies]
bext-plugin = { path = "bext-plugin" }

[profile.release]
opt-level = "s"
lto = true
codegen-units = 1
panic = "abort"
strip = "debuginfo" # names of functions stay: bext names the one that failed

[workspace]
`

const GO_CODE = `package main

import "bext"

//go:wasmexport on_request
func onRequest() int32 {
	return bext.HandleRequest(func(r *bext.Request) error {
		if r.Path() != "/hello" {
			return nil
		}
		name, ok := r.Headers.Lookup("x-name")
		if !ok {
			name = "world"
		}
		return r.RespondText(200, "Hello, "+name+"!")
	})
}

//go:wasmexport on_response
func onResponse() int32 {
	return bext.HandleResponse(func(r *bext.Response) error {
		return r.Headers.Set("x-greeted", "yes")
	})
}

func main() {}
`

const C_CODE = `#include "bext.h"

BEXT_ON_REQUEST() {
  if (!bext_equal(bext_path(), BEXT_STR("/hello"))) return BEXT_CONTINUE;
  bext_str name = bext_header(BEXT_REQUEST, BEXT_STR("x-name"));
  bext_writer text = {0};
  bext_write(&text, BEXT_STR("Hello, "));
  bext_write(&text, bext_is_some(name) ? name : BEXT_STR("world"));
  bext_write(&text, BEXT_STR("!"));
  return bext_respond(200, BEXT_NONE, bext_text(&text));
}

BEXT_ON_RESPONSE() { return bext_set_header(BEXT_RESPONSE, BEXT_STR("x-greeted"), BEXT_STR("yes")); }
`

const ASSEMBLYSCRIPT_CODE = `import { CONTINUE, request, response } from "./bext"

export { bext_alloc } from "./bext"

export function on_request(): i32 {
  if (request.path !== "/hello") return CONTINUE
  const name = request.headers.get("x-name")
  return request.respondText(200, \`Hello, \${name === null ? "world" : name}!\`)
}

export function on_response(): i32 {
  return response.headers.set("x-greeted", "yes")
}
`

/** What the compiler would import from "env" is taken from the SDK. */
const ASC_OPTIONS = {
  entries: ["assembly/index.ts"],
  options: {
    outFile: "plugin.wasm",
    optimizeLevel: 3,
    // Names of functions: bext names the one that failed.
    debug: true,
    bindings: [],
    use: ["abort", "seed", "trace", "console"].map((name) => `${name}=assembly/bext/runtime/${name}`),
  },
}

const NODE_PACKAGE = {
  name: "NAME",
  version: "0.1.0",
  private: true,
  scripts: { build: "asc", test: "node --test" },
  devDependencies: { assemblyscript: "0.28.20" },
}

const TEMPLATES: Readonly<Record<WasmLanguage, Template>> = {
  rust: {
    title: "Rust",
    sdk: { "rust/Cargo.toml": "bext-plugin/Cargo.toml", "rust/src": "bext-plugin/src" },
    files: { "src/lib.rs": RUST_CODE, "Cargo.toml": CARGO },
    code: "src/lib.rs",
    build:
      "cargo build --release --target wasm32-unknown-unknown && cp target/wasm32-unknown-unknown/release/plugin.wasm .",
    toolchain: "Rust 1.63 or newer (https://rustup.rs)",
    programs: ["cargo"],
    once: "rustup target add wasm32-unknown-unknown",
    built: ["target/"],
  },
  go: {
    title: "Go",
    sdk: { go: "bext" },
    files: {
      "main.go": GO_CODE,
      "go.mod": "module NAME\n\ngo 1.24\n\nrequire bext v0.0.0\n\nreplace bext => ./bext\n",
    },
    code: "main.go",
    build: "GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -o plugin.wasm .",
    toolchain: "Go 1.24 or newer (https://go.dev/dl)",
    programs: ["go"],
    built: [],
  },
  c: {
    title: "C",
    sdk: { "c/bext.h": "src/bext.h" },
    files: { "src/plugin.c": C_CODE },
    code: "src/plugin.c",
    build: "clang --target=wasm32-unknown-unknown -O2 -nostdlib -Wl,--no-entry -o plugin.wasm src/plugin.c",
    toolchain: "clang and wasm-ld 14 or newer (Debian: apt install clang lld)",
    programs: ["clang", "wasm-ld"],
    built: [],
  },
  assemblyscript: {
    title: "AssemblyScript",
    sdk: { "assemblyscript/assembly": "assembly/bext" },
    files: {
      "assembly/index.ts": ASSEMBLYSCRIPT_CODE,
      "assembly/tsconfig.json": json({ extends: "assemblyscript/std/assembly.json", include: ["./**/*.ts"] }),
      "asconfig.json": json(ASC_OPTIONS),
      "package.json": json(NODE_PACKAGE),
    },
    code: "assembly/index.ts",
    build: "npm run build",
    toolchain: "npm (https://nodejs.org)",
    programs: ["npm"],
    once: "npm install",
    built: [],
  },
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

function readme(name: string, { title, sdk, code, build, toolchain, once }: Template): string {
  const carried = Object.values(sdk).map((path) => `\`${path}\``)
  return `# ${name}

A plugin for bext, written in ${title} and run as WebAssembly.

| | |
|---|---|
| \`plugin.toml\` | what the plugin is and what it asks for |
| \`${code}\` | its code |
| ${carried.join(", ")} | bext's SDK for ${title} |
| \`test/plugin.test.mjs\` | its test: real sandbox, real requests |

Build it, with ${toolchain}${once === undefined ? "" : ` and, once, \`${once}\``}:

\`\`\`sh
${build}
\`\`\`

Test it, with Node.js 24 or newer (\`bext/testing\` comes with bext; where it is not found, \`npm link bext\`):

\`\`\`sh
node --test
\`\`\`

Use it: in \`bext.config.toml\`

\`\`\`toml
[plugins.${name}]
path = "path/to/this/folder"
\`\`\`

Develop it: \`bext dev\` serves the site and takes over every build.
`
}
