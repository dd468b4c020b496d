import { execFileSync } from "node:child_process"
import { delimiter } from "node:path"

/** What a person types to run Node: `node` when theirs is new enough for plugins' tests, otherwise the one running now. */
export function nodeCommand(): string {
  // `npm run` puts the folders of a project first; the person's shell has them not.
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => !/node_modules|node-gyp/.test(folder))
  try {
    const env = { ...process.env, PATH: folders.join(delimiter) }
    const version = execFileSync("node", ["--version"], { env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    if (Number(/^v(\d+)/.exec(version)?.[1]) >= 24) return "node"
  } catch {
    // There is none.
  }
  return process.execPath
}
