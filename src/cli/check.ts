import { dirname, resolve } from "node:path"
import { styleText } from "node:util"
import { loadConfig } from "../config/load-config.ts"
import { printable } from "../config/printable.ts"
import type { Config } from "../config/schema.ts"
import { parseOptions } from "./parse-options.ts"
import { printError } from "./print-error.ts"

/** `bext check`: the configuration and every plugin, without starting. */
export async function check(args: readonly string[]): Promise<number> {
  const file = resolve(String(parseOptions("check", args).options.get("config") ?? "bext.config.toml"))
  const config = loadConfig(file)
  const count = Object.values(config.plugins).filter(({ enabled }) => enabled).length
  const failures = count === 0 ? 0 : await reportPlugins(config, dirname(file))
  if (failures > 0) {
    process.stderr.write(`\n${failures} of ${plural(count)} cannot be used\n`)
    return 1
  }
  process.stdout.write(
    `${file} is right${count === 0 ? "" : `, and so ${count === 1 ? "is" : "are"} its ${plural(count)}`}\n`,
  )
  return 0
}

/** @returns how many failed. */
async function reportPlugins(config: Config, folder: string): Promise<number> {
  // Loaded here: a configuration without plugins needs no sandbox.
  const { checkPlugins } = await import("../check-plugins.ts")
  let failures = 0
  for await (const result of checkPlugins(config, { folder, warn })) {
    if ("plugin" in result) {
      const { manifest, tier, priority, hooks } = result.plugin
      const what = `${manifest.manifest.version}  ${tier}, priority ${priority}: ${[...hooks].join(", ")}`
      process.stdout.write(`${mark("green", "ok  ")}  ${result.name} ${what}\n`)
    } else {
      failures++
      process.stdout.write(`${mark("red", "FAIL")}  ${result.name}\n`)
      printError(result.error)
    }
  }
  return failures
}

function plural(count: number): string {
  return count === 1 ? "plugin" : `${count} plugins`
}

function mark(colour: "green" | "red", text: string): string {
  return styleText(colour, text, { stream: process.stdout })
}

function warn(message: string): void {
  process.stderr.write(`warning: ${printable(message)}\n`)
}
