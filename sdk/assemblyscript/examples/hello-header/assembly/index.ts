// Greets the app and the client in a header each.
import { getConfig, request, response } from "./bext"

export { bext_alloc } from "./bext"

const greeting = getConfig("greeting")!
const requestHeader = getConfig("request_header")!
const responseHeader = getConfig("response_header")!

export function on_request(): i32 {
  return request.headers.set(requestHeader, `bext says ${greeting}`)
}

export function on_response(): i32 {
  const name = request.headers.get("x-name")
  const fits = name !== null && name.length > 0 && String.UTF8.byteLength(name) <= 64
  return response.headers.set(responseHeader, `${greeting}, ${fits ? name! : "world"}`)
}
