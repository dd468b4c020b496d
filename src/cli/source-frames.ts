import { join } from "node:path"
import { codeFrame, lineOf } from "../config/config-error.ts"
import { readText } from "../config/read-text.ts"
import { BextError } from "../errors.ts"

const PLACE = /(?:^|[\s(])((?:[\w.-]+\/)*[\w.-]+\.[cm]?[jt]sx?):(\d+):(\d+)/

/**
 * The lines of plugins' source that an error talks about.
 * @param folders - Folder of each plugin; a line of the message names the plugin first, then the place inside of its folder.
 */
export function sourceFrames(error: unknown, folders: ReadonlyMap<string, string>): string[] {
  if (!(error instanceof BextError)) return []
  return error.message.split("\n").flatMap((text) => {
    const [, name] = /^\s*([a-z][a-z0-9-]*): /.exec(text) ?? []
    const folder = folders.get(name ?? "")
    const [, path, line, column] = PLACE.exec(text) ?? []
    if (folder === undefined || path === undefined) return []
    return frame(join(folder, path), Number(line), Number(column))
  })
}

function frame(file: string, line: number, column: number): string[] {
  const text = lineOf(sourceOf(file), line)
  return text === undefined
    ? []
    : [`  ${file}:${line}:${column}`, ...codeFrame(text, { line, column, endColumn: column + 1 })]
}

function sourceOf(file: string): string {
  try {
    return readText(file, "E_PLUGIN_NOT_FOUND")
  } catch {
    // Gone meanwhile: the message has to do.
    return ""
  }
}
