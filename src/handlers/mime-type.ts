import { extname } from "node:path"
import { mimes } from "mrmime"

/** The Content-Type for a file name; text is UTF-8. */
export function mimeType(path: string): string {
  const extension = extname(path).slice(1).toLowerCase()
  const type = Object.hasOwn(mimes, extension) ? mimes[extension]! : "application/octet-stream"
  return type.startsWith("text/") || type === "application/javascript" ? `${type}; charset=utf-8` : type
}
