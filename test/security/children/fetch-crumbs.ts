/** Fetches eight megabytes that come in chunks of one byte, all at once; prints how many bytes arrived. */
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { AddressGuard } from "../../../src/host/address-guard.ts"
import { createGuardedFetch } from "../../../src/host/fetch.ts"
import { createFetchTransport } from "../../../src/host/fetch-transport.ts"

const CRUMBS = Buffer.from("1\r\nx\r\n".repeat(10_000))

const server = createServer((socket) => {
  socket.once("data", () => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    let left = 100
    const next = () => {
      if (left-- > 0) socket.write(CRUMBS, next)
      else socket.end("0\r\n\r\n")
    }
    next()
  })
})
await once(server.listen(0, "127.0.0.1"), "listening")
const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`
const transport = createFetchTransport(new AddressGuard({ allowPrivate: [endpoint], isOwnListener: () => false }))
const url = `http://${endpoint}/`
const fetch = createGuardedFetch({
  plugin: "crumbs",
  allowedUrls: [`${url}**`],
  maxPerMinute: 100,
  maxBytes: 1_000_000,
  transport,
  timeoutMs: 60_000,
})
const never = new AbortController().signal
const request = { url, method: "GET", headers: [], body: null, redirect: "error" } as const
const responses = await Promise.all(Array.from({ length: 8 }, () => fetch(request, never)))
console.log(responses.reduce((sum, { body }) => sum + body.length, 0))
await transport.destroy()
server.close()
