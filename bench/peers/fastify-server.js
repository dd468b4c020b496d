// Fastify answering with the same fixed text.
import Fastify from "fastify"

const app = Fastify()
app.get("/hello.txt", (_request, reply) => {
  reply.type("text/plain").send("hello")
})
await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) })
console.log(`listens on ${app.server.address().port}`)
