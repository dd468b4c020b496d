import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

/** Path → content, or the target of a symbolic link. */
export type Files = Readonly<Record<string, string | Uint8Array | { readonly link: string }>>

export function writeFiles(folder: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    if (typeof content !== "string" && "link" in content) symlinkSync(content.link, file)
    else writeFileSync(file, content)
  }
}
