// node:http answering with the fixed text and as many headers as bext sends for a file.
import { createServer } from "node:http"

const HEADERS = [
  ["Content-Type", "text/plain; charset=utf-8"],
  ["ETag", '"5-hoe9j7ysjyab"'],
  ["Last-Modified", new Date(0).toUTCString()],
  ["Accept-Ranges", "bytes"],
  ["X-Request-Id", "0123456789abcdef0123456789abcdef"],
  ["Content-Length", "5"],
].flat()

const server = createServer((_request, response) => {
  response.writeHead(200, HEADERS)
  response.end("hello")
})
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`listens on ${server.address().port}`))
