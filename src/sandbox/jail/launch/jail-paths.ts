/** Where things are inside a jail. */
export const PLUGIN = "/plugin"
export const DATA = "/data"
export const SDK = "/bext/python"

/** Where the name of a program is looked for. */
export const PATH = "/usr/local/bin:/usr/bin:/bin"

/** Whether `path` is `folder` or below it. Both absolute and normalised. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || folder === "/" || path.startsWith(`${folder}/`)
}

/** `path` of the jail as a path of the host, when it is in `inside`, which is `outside` there; otherwise undefined. */
export function moved(path: string, inside: string, outside: string): string | undefined {
  return isWithin(path, inside) ? outside + path.slice(inside.length) : undefined
}
