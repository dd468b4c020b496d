import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from "node:http"

export type Where = { readonly socketPath: string } | { readonly port: number }

export interface AskOptions {
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Fails when the text is not JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
  json(): any
}

/** One request with exactly these headers; the path goes out as it is. */
export function ask(where: Where, path: string, options: AskOptions = {}): Promise<Answer> {
  const { method = "GET", body } = options
  const host = "port" in where ? `127.0.0.1:${where.port}` : "bext"
  const headers = { host, ...(body !== undefined && { "content-type": "application/json" }), ...options.headers }
  return new Promise((resolve, reject) => {
    const target = "port" in where ? { host: "127.0.0.1", port: where.port } : where
    const outgoing = request({ ...target, method, path, headers, setHost: false, agent: false }, (incoming) => {
      let text = ""
      incoming.setEncoding("utf8")
      incoming.on("data", (chunk) => {
        text += chunk
      })
      incoming.on("end", () =>
        resolve({ status: incoming.statusCode!, headers: incoming.headers, text, json: () => JSON.parse(text) }),
      )
      incoming.on("error", reject)
    })
    outgoing.on("error", reject)
    outgoing.end(body)
  })
}
