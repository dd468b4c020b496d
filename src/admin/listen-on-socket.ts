import { existsSync, lstatSync, mkdirSync, statSync, unlinkSync } from "node:fs"
import { connect, type Server } from "node:net"
import { dirname } from "node:path"
import { BextError } from "../errors.ts"
import { type ShortSocketPath, shortSocketPath } from "./short-socket-path.ts"

/**
 * Listens on a socket that only this user may connect to: mode 0600, in a folder nobody else can put another one into.
 * The socket of a server that is dead is replaced. The socket is removed when `server` closes.
 * @param path - Absolute. Its folder is made when only that is missing.
 * @throws {BextError} `E_ADMIN_SOCKET`; `E_ADMIN_IN_USE` when a server answers there.
 */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  const short = prepare(path)
  try {
    await removeStale(path, short.path)
    await listen(server, short.path)
  } catch (error) {
    short[Symbol.dispose]()
    throw error instanceof BextError ? error : cannot(path, error)
  }
  // The name must hold until then: closing removes the socket by it.
  server.once("close", () => short[Symbol.dispose]())
}

function prepare(path: string): ShortSocketPath {
  const folder = dirname(path)
  try {
    // One level: whatever is further up is not for a server to make.
    if (!existsSync(folder)) mkdirSync(folder, { mode: 0o700 })
    checkFolder(folder)
    return shortSocketPath(path)
  } catch (error) {
    throw error instanceof BextError ? error : cannot(path, error)
  }
}

const WRITABLE_BY_OTHERS = 0o022

function checkFolder(folder: string): void {
  const { uid, mode } = statSync(folder)
  const own = process.getuid?.()
  if (own === undefined) return
  if (uid !== own && uid !== 0) {
    throw new BextError("E_ADMIN_SOCKET", `the folder ${folder} belongs to another user, who could put a socket there`)
  }
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new BextError(
      "E_ADMIN_SOCKET",
      `the folder ${folder} is writable by other users, who could put a socket there\nrun: chmod go-w ${folder}`,
    )
  }
}

async function removeStale(path: string, shortPath: string): Promise<void> {
  const present = lstatSync(path, { throwIfNoEntry: false })
  if (present === undefined) return
  if (!present.isSocket()) {
    throw new BextError("E_ADMIN_SOCKET", `${path} is there and is not a socket; move it away, or use another path`)
  }
  if (await answers(shortPath)) {
    throw new BextError(
      "E_ADMIN_IN_USE",
      `another running server has the admin socket ${path}\nbext status, run here, shows which`,
    )
  }
  unlinkSync(path)
}

/** Whether somebody listens. A queue that is full is somebody too. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false)
      else if (error.code === "EAGAIN") resolve(true)
      else reject(error)
    })
  })
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject)
    // The socket is made within this call, with no moment at which others could connect.
    const before = process.umask(0o177)
    try {
      server.listen({ path, exclusive: true }, () => {
        server.off("error", reject)
        resolve()
      })
    } finally {
      process.umask(before)
    }
  })
}

function cannot(path: string, cause: unknown): BextError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new BextError("E_ADMIN_SOCKET", `cannot make the admin socket ${path}: ${reason}`, { cause })
}
