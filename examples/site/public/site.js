/** Explains this page's own request: asks for the page once more and shows what the stack did to it. */

const PRIORITIES = {
  cors: 100,
  "rate-limit": 200,
  auth: 300,
  tenant: 400,
  tracing: 500,
  "security-headers": 600,
  "maintenance-mode": 610,
  "rate-limiter": 620,
  "webhook-verify": 630,
  mirror: 700,
}

const ADDED_BY = {
  ratelimit: "rate limiter (200)",
  "ratelimit-policy": "rate limiter (200)",
  vary: "CORS (100)",
  "x-request-id": "tracing (500)",
  "server-timing": "tracing (500), because this page asked",
  "x-frame-options": "plugin security-headers",
  "x-content-type-options": "plugin security-headers",
  "referrer-policy": "plugin security-headers",
  "permissions-policy": "plugin security-headers",
  "content-security-policy": "plugin security-headers",
  "cross-origin-opener-policy": "plugin security-headers",
  etag: "static files",
  "last-modified": "static files",
}

const DEMO_WEBHOOK_SECRET = "bext-demo-webhook-secret-that-is-not-secret"
const DEMO_JWT_SECRET = "bext-demo-jwt-secret-that-is-not-secret-at-all"

explain()
for (const button of document.querySelectorAll("button[data-try]")) button.addEventListener("click", run)

async function explain() {
  const response = await fetch("/", { headers: { "server-timing": "1" }, cache: "no-store" })
  showStack(response.headers.get("server-timing") ?? "")
  showHeaders(response.headers)
  document.querySelector("#request-id").textContent = `Request ${response.headers.get("x-request-id") ?? "without id"}`
}

/** Server-Timing: `name;dur=0.012, name;dur=…`, requests first, responses after. A name's durations are added up. */
function showStack(serverTiming) {
  const totals = new Map()
  for (const part of serverTiming.split(",")) {
    const [name, ...parameters] = part.trim().split(";")
    const duration = Number(parameters.find((text) => text.trim().startsWith("dur="))?.split("=")[1] ?? Number.NaN)
    if (name !== "total" && !Number.isNaN(duration)) totals.set(name, (totals.get(name) ?? 0) + duration)
  }
  const list = document.querySelector("#stack")
  if (totals.size === 0) {
    list.replaceChildren(element("li", "waiting", "This server does not tell timings to this address."))
    return
  }
  const longest = Math.max(...totals.values())
  const inOrder = [...totals].sort(([a], [b]) => (PRIORITIES[a] ?? 600) - (PRIORITIES[b] ?? 600))
  list.replaceChildren(...inOrder.map(([name, duration]) => stackRow(name, duration, longest)))
}

function stackRow(name, duration, longest) {
  const row = element("li", PRIORITIES[name] < 600 ? "built-in" : "plugin")
  const bar = element("div", "bar")
  bar.style.width = `${Math.max(1, (duration / longest) * 100)}%`
  const cell = element("div", "bar-cell")
  cell.append(bar)
  row.append(
    element("span", "priority", String(PRIORITIES[name] ?? "600+")),
    element("span", "name", name),
    cell,
    element("span", "time", `${Math.round(duration * 1000)} µs`),
  )
  return row
}

function showHeaders(headers) {
  const rows = [...headers]
    .filter(([name]) => name in ADDED_BY)
    .map(([name, value]) => {
      const row = element("tr")
      row.append(element("td", "", name), element("td", "", value), element("td", "", ADDED_BY[name]))
      return row
    })
  document.querySelector("#headers tbody").replaceChildren(...rows)
}

async function run(event) {
  const button = event.currentTarget
  const output = button.closest("article").querySelector("output")
  output.replaceChildren("…")
  output.replaceChildren(...(await TRIES[button.dataset.try]()))
}

const TRIES = {
  async burst() {
    const statuses = []
    for (let i = 0; i < 14; i++) {
      const response = await fetch(`/api/hello?n=${i}`)
      statuses.push(verdict(`${response.status} `, response.ok))
    }
    return statuses
  },
  async signed() {
    const body = JSON.stringify({ event: "order.paid", amount: 42 })
    return webhook(body, `sha256=${hex(await hmac(DEMO_WEBHOOK_SECRET, body))}`)
  },
  forged: () => webhook(JSON.stringify({ event: "order.paid", amount: 9999 }), `sha256=${"0".repeat(64)}`),
  anonymous: () => show(fetch("/members/news.txt")),
  async member() {
    return show(fetch("/members/news.txt", { headers: { authorization: `Bearer ${await token("ada")}` } }))
  },
  closed: () => show(fetch("/closed/", { headers: { accept: "application/json" } })),
}

function webhook(body, signature) {
  const headers = { "content-type": "application/json", "x-hub-signature-256": signature }
  return show(fetch("/webhooks/demo", { method: "POST", headers, body }))
}

async function show(pending) {
  const response = await pending
  const text = (await response.text()).slice(0, 400)
  return [verdict(`${response.status}\n`, response.ok), text]
}

function verdict(text, good) {
  return element("span", good ? "good" : "bad", text)
}

/** A JWT signed in the browser, possible only because the demonstration's secret is public. */
async function token(subject) {
  const now = Math.floor(Date.now() / 1000)
  const head = base64url(bytes(JSON.stringify({ alg: "HS256", typ: "JWT" })))
  const claims = base64url(bytes(JSON.stringify({ sub: subject, iat: now, exp: now + 300 })))
  const signature = base64url(await hmac(DEMO_JWT_SECRET, `${head}.${claims}`))
  return `${head}.${claims}.${signature}`
}

async function hmac(secret, text) {
  const algorithm = { name: "HMAC", hash: "SHA-256" }
  const key = await crypto.subtle.importKey("raw", bytes(secret), algorithm, false, ["sign"])
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(text)))
}

function bytes(text) {
  return new TextEncoder().encode(text)
}

function hex(data) {
  return [...data].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}

function base64url(data) {
  return btoa(String.fromCharCode(...data))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "")
}

function element(tag, className = "", text = "") {
  const node = document.createElement(tag)
  if (className) node.className = className
  node.textContent = text
  return node
}
