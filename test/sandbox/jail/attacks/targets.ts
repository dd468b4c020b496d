import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { chmodSync, chownSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { compileProgram } from "./compile-program.ts"
import { MARKER } from "./start-attack-host.ts"

/** The text of every secret file. */
export const SECRET = "what-nobody-may-read"

/** What the test puts up for attackers. */
export interface Targets extends AsyncDisposable {
  /** The attacker's own. */
  readonly folder: string
  readonly dataFolder: string
  /** Files of the host: one that all may read, one that its owner alone may; the owner runs the jails. */
  readonly openFile: string
  readonly privateFile: string
  /** Folder of another plugin, with `secret`, and its data. */
  readonly otherPlugin: string
  readonly otherData: string
  /** A folder of the operator's, for `readOnlyPaths`. */
  readonly shared: string
  /** Listeners on loopback and in the file system. */
  readonly tcpPort: number
  readonly tcp6Port: number
  readonly udpPort: number
  readonly unixPath: string
  readonly abstractName: string
  /** What reached them. */
  readonly received: string[]
  /** A process with the user of jails and `MARKER` in its environment. */
  readonly bystander: number
  /** Whether it still lives. */
  bystanderLives(): boolean
}

/** @param owner - User that runs the jails. @param jailed - User whom the bystander has. */
export async function prepareTargets(owner: number, jailed: number): Promise<Targets> {
  await using parts = new AsyncDisposableStack()
  const root = mkdtempSync(join(tmpdir(), "bext-attack-"))
  parts.defer(() => rmSync(root, { recursive: true, force: true }))
  chmodSync(root, 0o755)
  chownSync(root, owner, owner)
  const folders = ["plugin", "data", "other", "other-data", "shared"].map((name) => makeFolder(root, name, owner))
  const [folder, dataFolder, otherPlugin, otherData, shared] = folders as [string, string, string, string, string]
  const openFile = makeFile(join(root, "open"), 0o644, owner)
  const privateFile = makeFile(join(root, "private"), 0o600, owner)
  for (const other of [otherPlugin, otherData, shared]) makeFile(join(other, "secret"), 0o644, owner)
  compileProgram(fileURLToPath(new URL("attacks.c", import.meta.url)), folder, "attacks")
  symlinkSync(openFile, join(folder, "link"))
  if (process.getuid!() === 0) {
    copyFileSync(join(folder, "attacks"), join(folder, "of-root"))
    chmodSync(join(folder, "of-root"), 0o4755)
  }

  const received: string[] = []
  const unixPath = join(root, "socket")
  const abstractName = `bext-attack-${randomUUID()}`
  const tcpPort = portOf(parts.use(await listen({ host: "127.0.0.1", port: 0 }, received)))
  const tcp6Port = portOf(parts.use(await listen({ host: "::1", port: 0 }, received)))
  parts.use(await listen({ path: unixPath }, received))
  chmodSync(unixPath, 0o777)
  parts.use(await listen({ path: `\0${abstractName}` }, received))
  const udp = createSocket("udp4").on("message", (message) => received.push(`udp ${message}`))
  udp.bind(0, "127.0.0.1")
  await once(udp, "listening")
  parts.defer(() => void udp.close())

  const user = owner === process.getuid!() && owner !== 0 ? {} : { uid: jailed, gid: jailed }
  const bystander = spawn("/bin/sleep", ["1000"], { env: { HOST_SECRET: MARKER }, stdio: "ignore", cwd: "/", ...user })
  await once(bystander, "spawn")
  parts.defer(() => void bystander.kill("SIGKILL"))

  const all = parts.move()
  return {
    folder,
    dataFolder,
    openFile,
    privateFile,
    otherPlugin,
    otherData,
    shared,
    tcpPort,
    tcp6Port,
    udpPort: udp.address().port,
    unixPath,
    abstractName,
    received,
    bystander: bystander.pid!,
    bystanderLives: () => bystander.exitCode === null && bystander.signalCode === null,
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

function makeFolder(root: string, name: string, owner: number): string {
  const folder = join(root, name)
  mkdirSync(folder)
  chmodSync(folder, 0o755)
  chownSync(folder, owner, owner)
  return folder
}

function makeFile(path: string, mode: number, owner: number): string {
  writeFileSync(path, SECRET)
  chmodSync(path, mode)
  chownSync(path, owner, owner)
  return path
}

async function listen(
  where: { host: string; port: number } | { path: string },
  received: string[],
): Promise<Server & AsyncDisposable> {
  const server = createServer((socket) => {
    received.push("connection")
    socket.on("error", () => {})
    socket.resume()
  })
  server.listen(where)
  await once(server, "listening")
  return server
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}
