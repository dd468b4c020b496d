import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { BextError } from "../errors.ts"

/** Status → HTML template of `[errors]`, read once. */
export type ErrorPages = ReadonlyMap<number, string>

/**
 * Reads the files of `[errors]`.
 * @param baseDir - What relative paths are relative to: the folder of the configuration file.
 * @throws {BextError} `E_FILE_UNREADABLE`.
 */
export function readErrorPages(files: Readonly<Record<string, string>>, baseDir = "."): ErrorPages {
  const pages = new Map<number, string>()
  for (const [status, file] of Object.entries(files)) {
    try {
      pages.set(Number(status), readFileSync(resolve(baseDir, file), "utf8"))
    } catch (cause) {
      throw new BextError("E_FILE_UNREADABLE", `errors.${status}: cannot read ${file}`, { cause })
    }
  }
  return pages
}

/** Fills `{code}` and `{request_id}` of an operator's page. */
export function fillErrorPage(template: string, code: string, requestId: string): string {
  return template.replace(/\{(code|request_id)\}/g, (_, name) => escapeHtml(name === "code" ? code : requestId))
}

/** The page browsers get when the operator has none for this status. */
export function defaultErrorPage(status: number, title: string, code: string, requestId: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${status} ${escapeHtml(title)}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { min-height: 100vh; margin: 0; display: grid; place-content: center; padding: 2rem; box-sizing: border-box }
p { margin: 0; opacity: .7 }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; font-weight: 600 }
b { display: block; font-size: clamp(4rem, 18vw, 8rem); line-height: 1; font-weight: 200; letter-spacing: -.04em }
code { font: .85rem ui-monospace, monospace; overflow-wrap: anywhere }
</style>
<main>
<b>${status}</b>
<h1>${escapeHtml(title)}</h1>
<p>Code <code>${escapeHtml(code)}</code></p>
<p>Request <code>${escapeHtml(requestId)}</code></p>
</main>
</html>
`
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}
