import { dirname, resolve } from "node:path"
import { styleText } from "node:util"
import { checkAdminTokens } from "../admin/check-admin-tokens.ts"
import type { PluginCheck } from "../check-server.ts"
import { loadConfig } from "../config/load-config.ts"
import { printable } from "../config/printable.ts"
import { parseOptions } from "./parse-options.ts"
import { printError } from "./print-error.ts"

/** `bext check`: the configuration and every plugin, without starting. */
export async function check(args: readonly string[]): Promise<number> {
  const file = resolve(String(parseOptions("check", args).options.get("config") ?? "bext.config.toml"))
  const config = loadConfig(file)
  checkAdminTokens(config)
  // Loaded here: a file with mistakes needs no server to say so.
  const { checkBuiltIns, checkPlugins } = await import("../check-server.ts")
  const options = { folder: dirname(file), warn }
  await checkBuiltIns(config, options)
  let count = 0
  let failures = 0
  for await (const result of checkPlugins(config, options)) {
    count++
    if ("error" in result) failures++
    report(result)
  }
  if (failures > 0) {
    process.stderr.write(`${count === 1 ? "the plugin" : `${failures} of ${count} plugins`} cannot be used\n`)
    return 1
  }
  const plugins = ["", ", and so is its plugin"][count] ?? `, and so are its ${count} plugins`
  process.stdout.write(`${file} is right${plugins}\n`)
  return 0
}

function report(result: PluginCheck): void {
  if ("error" in result) {
    process.stdout.write(`${mark("red", "FAIL")}  ${result.name}\n`)
    printError(result.error)
    process.stderr.write("\n")
    return
  }
  const { manifest, tier, isolation, priority, hooks } = result.plugin
  const where = isolation === null ? tier : `${tier} (isolation ${isolation.level})`
  const what = `${manifest.manifest.version}  ${where}, priority ${priority}: ${[...hooks].join(", ")}`
  process.stdout.write(`${mark("green", "ok  ")}  ${result.name} ${what}\n`)
}

function mark(colour: "green" | "red", text: string): string {
  return styleText(colour, text, { stream: process.stdout })
}

function warn(message: string): void {
  process.stderr.write(`warning: ${printable(message)}\n`)
}
