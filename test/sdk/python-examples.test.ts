import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { type DrivenProgram, driveProgram, memoryHost, type ProgramCall } from "../support/drive-program.ts"
import { findProgram, missing, PYTHON } from "../support/programs.ts"
import { jpeg, jpegWith, orientationOf, png, segment } from "./images.ts"

const EXAMPLES = fileURLToPath(new URL("../../sdk/python/examples", import.meta.url))

async function start(
  example: "fraud-score" | "image-exif-strip",
  config: Readonly<Record<string, string | number | readonly string[]>> = {},
  answer = memoryHost(),
): Promise<DrivenProgram> {
  await using parts = new AsyncDisposableStack()
  const cwd = `${EXAMPLES}/${example}`
  const program = parts.use(driveProgram([findProgram(PYTHON)!, "main.py"], { cwd, answer }))
  const hello = await program.call("hello", { protocol: 1, plugin: example, config })
  assert.equal(hello.protocol, 1)
  parts.move()
  return program
}

const SCORING = {
  threshold: 80,
  requests_per_minute: 3,
  header: "x-fraud-score",
  tools: ["curl/", "python-requests/"],
  traps: ["/.env", "/wp-login.php"],
}

const BROWSER = [
  ["user-agent", "Mozilla/5.0 (X11; Linux x86_64)"],
  ["accept", "text/html"],
  ["accept-language", "en"],
]

describe("fraud-score in Python", { skip: missing(PYTHON) }, () => {
  const score = (answer: Readonly<Record<string, unknown>>) =>
    answer.action === "respond" ? answer.status : (answer.extensions as { score: string }).score

  for (const [what, params, expected] of [
    ["a browser", { headers: BROWSER }, "0"],
    [
      "a tool",
      {
        headers: [
          ["user-agent", "curl/8.5.0"],
          ["accept", "*/*"],
        ],
      },
      "30",
    ],
    ["a program that says nothing of itself", { headers: [] }, "55"],
    ["a browser that speaks no language", { headers: BROWSER.slice(0, 2) }, "25"],
    ["a browser on a path that nobody knows", { path: "/WP-login.php", headers: BROWSER }, "60"],
    [
      "a tool on such a path",
      {
        path: "/.env",
        headers: [
          ["user-agent", "curl/8.5.0"],
          ["accept", "*/*"],
        ],
      },
      403,
    ],
  ] as const) {
    it(`gives ${what} ${expected}`, async () => {
      await using plugin = await start("fraud-score", SCORING)
      const answer = await plugin.request({ path: "/", client_address: "192.0.2.1", ...params } as never)
      assert.equal(score(answer), expected)
    })
  }

  it("tells the app the score in a header that a client cannot set", async () => {
    await using plugin = await start("fraud-score", SCORING)
    const headers = [...BROWSER, ["x-fraud-score", "-1000"]]
    const answer = await plugin.request({ path: "/", client_address: "192.0.2.1", headers })
    assert.deepEqual(answer.set_headers, [["x-fraud-score", "0"]])
  })

  it("counts what a client sends in a minute, each client by itself", async () => {
    const asked: ProgramCall[] = []
    const memory = memoryHost()
    await using plugin = await start("fraud-score", SCORING, (call) => {
      asked.push(call)
      return memory(call)
    })
    const from = (client_address: string) => plugin.request({ path: "/", client_address, headers: BROWSER })
    const answers = await Promise.all(Array.from({ length: 13 }, () => from("2001:db8::1")))
    assert.deepEqual(answers.map(score), [...Array(3).fill("0"), ...Array(9).fill("40"), 403])
    assert.equal(score(await from("192.0.2.1")), "0")
    assert.deepEqual(asked[0]!.params, { key: "seen-2001:db8::1", by: 1, ttl_ms: 60_000 })
    assert.match(
      String(asked.find(({ method }) => method === "log")!.params.message),
      /^refused 2001:db8::1: 80 \(flood\)$/,
    )
  })

  it("refuses nobody with a threshold over 100", async () => {
    await using plugin = await start("fraud-score", { ...SCORING, threshold: 101 })
    const answer = await plugin.request({ path: "/.env", client_address: "192.0.2.1", headers: [] })
    assert.equal(score(answer), "100")
  })
})

describe("image-exif-strip in Python", { skip: missing(PYTHON) }, () => {
  const upload = async (data: Buffer, type = "image/jpeg", method = "POST") => {
    await using plugin = await start("image-exif-strip")
    const body = { base64: data.toString("base64") }
    const answer = await plugin.request({ path: "/", method, headers: [["content-type", type]], body })
    assert.equal(answer.ok, true, JSON.stringify(answer))
    return { stripped: answer.body === undefined ? null : fromWire(answer.body), plugin: plugin.asked }
  }

  it("takes Exif, XMP, IPTC, comments and what is behind the end out of a JPEG, and nothing else", async () => {
    const { stripped } = await upload(jpeg({ orientation: 1 }))
    assert.deepEqual(stripped, jpeg(null))
    assert.ok(!stripped!.includes("SECRET"))
  })

  it("keeps the orientation of a picture, in either byte order", async () => {
    for (const littleEndian of [true, false]) {
      const { stripped } = await upload(jpeg({ orientation: 6, littleEndian }))
      assert.ok(!stripped!.includes("SECRET"))
      assert.equal(orientationOf(stripped!), 6)
      const again = await upload(stripped!)
      assert.equal(again.stripped, null, "what is clean stays as it is")
    }
  })

  it("takes texts, times and Exif out of a PNG, which still has every pixel", async () => {
    const { stripped } = await upload(png(true), "image/png; q=1", "PUT")
    assert.deepEqual(stripped, png(false))
  })

  it("strips what the app sends", async () => {
    await using plugin = await start("image-exif-strip")
    const of = (data: Buffer, fields: object = {}) =>
      plugin.call("onResponse", {
        ...{ path: "/", method: "GET", status: 200, response_headers: [["content-type", "image/jpeg"]] },
        response_body: { base64: data.toString("base64") },
        ...fields,
      })
    assert.deepEqual(fromWire((await of(jpeg({ orientation: 1 }))).body), jpeg(null))
    assert.equal((await of(jpeg({ orientation: 1 }), { status: 206 })).body, undefined)
    assert.equal(
      (await of(jpeg({ orientation: 1 }), { response_headers: [["content-type", "text/html"]] })).body,
      undefined,
    )
    assert.equal((await of(Buffer.alloc(0), { method: "HEAD" })).body, undefined)
  })

  it("leaves what is damaged, or no image, as it is and says so", async () => {
    const whole = jpeg({ orientation: 6 })
    for (const [data, reason] of [
      [Buffer.from("no image"), /neither a JPEG nor a PNG/],
      [whole.subarray(0, 40), /wrong length|ends|without/],
      [whole.subarray(0, 3), /without|ends/],
      [png(true).subarray(0, 60), /a PNG that ends within its chunk/],
      [Buffer.concat([Buffer.from("ffd8ffe10001", "hex"), whole]), /wrong length at byte 2/],
      [Buffer.from("89504e470d0a1a0affffffff49454e44", "hex"), /a PNG that ends within its chunk/],
    ] as const) {
      const { stripped, plugin } = await upload(data as Buffer)
      assert.equal(stripped, null)
      assert.match(String(plugin.find(({ method }) => method === "log")!.params.message), reason)
    }
  })

  it("survives any Exif: offsets outside, counts too large, orientations that there are not", async () => {
    for (const tiff of [
      ...["", "49492a00", "49492a00ffffffff", "4d4d002a00000008", "4d4d002a00000008ffff", "00000000"],
      "4d4d002a0000000800010112000300000001000900000000",
    ]) {
      const { stripped } = await upload(
        jpegWith(segment(0xe1, Buffer.concat([Buffer.from("Exif\0\0"), Buffer.from(tiff, "hex")]))),
      )
      assert.deepEqual(stripped, jpegWith(Buffer.alloc(0)))
    }
  })
})

function fromWire(body: unknown): Buffer {
  return Buffer.from((body as { base64: string }).base64, "base64")
}
