import { test } from "node:test"
import { parseExample } from "../../../support/doc-example.ts"
import { runDocExample } from "../../../support/run-doc-example.ts"

const FETCHING = ['// plugin.toml [permissions] allowed_urls = ["$APP/**"]', '// config service = "$APP"']

/** @param code - Statements or the result of `onRequest`, which is async. */
function answers(title: string, code: string, ...statements: readonly string[]): void {
  test(title, () =>
    runDocExample(parseExample("here:1", "js", [`export async function onRequest(ctx) { ${code} }`, ...statements])),
  )
}

answers(
  "a fetched response can be returned as it is, without the fields of its transfer",
  "return bext.fetch(bext.config.service + ctx.path)",
  ...FETCHING,
  '// GET /x → continue "the app\'s page"',
)

answers(
  "a response made after a fetched one leaves the fields of the transfer out, too",
  "const r = await bext.fetch(bext.config.service); return new Response((await r.text()).toUpperCase(), r)",
  ...FETCHING,
  '// GET /x → continue "THE APP\'S PAGE"',
)

answers(
  "a fetch whose signal was aborted before does not start",
  `const c = new AbortController(); c.abort()
   try { await bext.fetch(bext.config.service, { signal: c.signal }) } catch (error) { return new Response(error.name) }`,
  ...FETCHING,
  '// GET /x → 200 "AbortError"',
)

answers(
  "a fetch whose signal is aborted rejects with the reason",
  `const c = new AbortController(); const p = bext.fetch(bext.config.service, { signal: c.signal }); c.abort("why")
   try { await p } catch (error) { return new Response(error) }`,
  ...FETCHING,
  '// GET /x → 200 "why"',
)

answers(
  "a result takes Headers and bytes",
  'return { action: "respond", headers: new Headers({ a: "b" }), body: new Uint8Array([65]) }',
  '// GET /x → 200 a: b "A"',
)

answers(
  "a lone surrogate becomes U+FFFD in a result's text",
  'return { action: "respond", body: "\\ud800x" }',
  '// GET /x → 200 "\ufffdx"',
)

answers(
  "a lone surrogate becomes U+FFFD in a Response's text",
  'return new Response("\\ud800x")',
  '// GET /x → 200 "\ufffdx"',
)

answers("a Response without content has none", "return new Response(null, { status: 204 })", '// GET /x → 204 ""')

answers(
  "a redirect is answered",
  'return Response.redirect("https://example.com/")',
  "// GET /x → 302 location: https://example.com/",
)

for (const [title, result] of [
  ["an object as a body", '{ action: "respond", body: { a: 1 } }'],
  ["text instead of a result", '"text"'],
  ["a network error", "Response.error()"],
  ["a Response with a length of its own", 'new Response("a", { headers: { "content-length": "3" } })'],
  ["an object that only looks like a Response", '{ status: 200, headers: new Headers(), text: async () => "x" }'],
  ["an object with Response's prototype", 'Object.create(new Response("x"))'],
]) {
  answers(`${title} fails the call`, `return ${result}`, "// GET /x → 502", "// GET /x → 502")
}

answers(
  "an error in a microtask is logged and harms nothing",
  'queueMicrotask(() => { throw new Error("micro") }); return new Response("x")',
  '// GET /x → 200 "x"',
  '// → log error "micro"',
)
