import { execFileSync } from "node:child_process"
import { createHash, randomBytes, scrypt } from "node:crypto"
import { cp, mkdtemp, readFile, rm, watch, writeFile } from "node:fs/promises"
import { connect, createServer } from "node:net"
import { promisify } from "node:util"
import { Worker } from "node:worker_threads"

const folder = await mkdtemp("/tmp/x")
await writeFile(`${folder}/a`, randomBytes(16))
await cp(`${folder}/a`, `${folder}/b`)
createHash("sha256").update(await readFile(`${folder}/b`))
watch(folder)
await rm(folder, { recursive: true })
await promisify(scrypt)("a", "b", 16)
if (execFileSync("cat", { input: "x", encoding: "utf8" }) !== "x") throw new Error("cat")
const worker = new Worker("require('node:worker_threads').parentPort.postMessage(1)", { eval: true })
await new Promise((resolve) => worker.once("message", resolve))
const server = createServer((socket) => socket.end()).listen(0, "127.0.0.1")
await new Promise((resolve) => server.once("listening", resolve))
await new Promise((resolve) => connect(server.address().port, "127.0.0.1").resume().once("close", resolve))
server.close()
console.log("done")
