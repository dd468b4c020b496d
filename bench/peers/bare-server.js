// The floor: node:http answering with a fixed text.
import { createServer } from "node:http"

const server = createServer((_request, response) => {
  response.writeHead(200, ["Content-Type", "text/plain", "Content-Length", "5"])
  response.end("hello")
})
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`listens on ${server.address().port}`))
