import { mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"

/** Path → content, or the target of a symbolic link. */
export type Files = Readonly<Record<string, string | { readonly link: string }>>

export function writeFiles(folder: string, files: Files): void {
  for (const [path, content] of Object.entries(files)) {
    const file = join(folder, path)
    mkdirSync(dirname(file), { recursive: true })
    if (typeof content === "string") writeFileSync(file, content)
    else symlinkSync(content.link, file)
  }
}
