import { once } from "node:events"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { text } from "node:stream/consumers"

/** An app with a login form, which leaves sessions to the server in front of it. */
export interface LoginApp extends AsyncDisposable {
  readonly origin: string
  /** Requests that arrived, "POST /login". */
  readonly requests: readonly string[]
}

const PAGE = { "content-type": "text/html; charset=utf-8" }

/**
 * - `/login`: a form; what it posts begins a session for the name in it, with the JSON of the field `claims`.
 * - `/logout`: a post ends it.
 * - `/whoami`: JSON of what the app is told: the user, the cookies and every header's name.
 * - `/forged`: says on no login path that a session begins; `/trailer`: says it in a trailer.
 * - everything else: a page that names the user.
 */
export async function startLoginApp(): Promise<LoginApp> {
  const requests: string[] = []
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    answer(request, response).catch((error) => response.destroy(error))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    },
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const user = userOf(request)
  switch (`${request.method} ${request.url}`) {
    case "GET /login":
      response.writeHead(200, PAGE).end('<form method="post"><input name="name"><button>Log in</button></form>')
      return
    case "POST /login": {
      const form = new URLSearchParams(await text(request))
      const claims = JSON.parse(form.get("claims") ?? "{}")
      const session = encodeURIComponent(JSON.stringify({ id: form.get("name"), claims }))
      response.writeHead(303, { location: "/account", "x-bext-session": session }).end()
      return
    }
    case "POST /logout":
      response.writeHead(303, { location: "/", "x-bext-session": "end" }).end()
      return
    case "GET /whoami": {
      const { cookie = null } = request.headers
      const names = Object.keys(request.headers)
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ user, cookie, names }))
      return
    }
    case "GET /forged":
      response.writeHead(200, { "x-bext-session": '{"id":"root"}' }).end()
      return
    case "GET /trailer":
      response.writeHead(200, { trailer: "x-bext-session" })
      response.write("x")
      response.addTrailers({ "x-bext-session": '{"id":"root"}' })
      response.end()
      return
    default: {
      const who = user === null ? "nobody" : String(user.id)
      const logout = '<form method="post" action="/logout"><button>Log out</button></form>'
      response.writeHead(200, PAGE).end(`<p id="who">${who}</p>${logout}`)
    }
  }
}

function userOf({ headers }: IncomingMessage): { readonly id: unknown } | null {
  const user = headers["x-bext-user"]
  return typeof user === "string" ? JSON.parse(user) : null
}
