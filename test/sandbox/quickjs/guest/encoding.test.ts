import { asStated, likeNode } from "./everywhere.ts"

const bytes = (...values: number[]) => `new Uint8Array([${values}])`

likeNode("TextEncoder writes UTF-8", [
  ...["", "abc", "é", "€", "😀", "a\u0000b", "\ufeffx", "\ud800", "x\udc00y", "\ud83d\ude00\ud83d"].map(
    (text) => `[...new TextEncoder().encode(${JSON.stringify(text)})]`,
  ),
  "[...new TextEncoder().encode()]",
  "[...new TextEncoder().encode(undefined)]",
  "[...new TextEncoder().encode(12)]",
  "new TextEncoder().encode('x'.repeat(100_000)).length",
  "new TextEncoder().encoding",
  ...["abcdef", "aéb", "€€", "a😀b", "é", "\ud800a"].flatMap((text) =>
    [0, 1, 2, 3, 4, 8].map(
      (size) =>
        `(() => { const d = new Uint8Array(${size}); return [new TextEncoder().encodeInto(${JSON.stringify(text)}, d), [...d]] })()`,
    ),
  ),
  "new TextEncoder().encodeInto('a', 'b')",
])

const invalid = [
  [0x80],
  [0xc0, 0x80],
  [0xc3],
  [0xe2, 0x82],
  [0xe2, 0x82, 0x41],
  [0xe0, 0x80, 0x80],
  [0xed, 0xa0, 0x80],
  [0xf0, 0x9f, 0x98],
  [0xf0, 0x80, 0x80, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0xf5, 0x80],
  [0xff, 0xfe],
  [0x61, 0xf0, 0x9f, 0x62],
  [0xef, 0xbf, 0xbd, 0x80],
]

likeNode("TextDecoder reads UTF-8 and replaces what is none", [
  ...invalid.map((list) => `new TextDecoder().decode(${bytes(...list)})`),
  ...invalid.map((list) => `new TextDecoder("utf8", { fatal: true }).decode(${bytes(...list)})`),
  `new TextDecoder("utf-8", { fatal: true }).decode(${bytes(0xef, 0xbf, 0xbd)})`,
  `new TextDecoder("utf-8", { fatal: true }).decode(${bytes(0xef, 0xbb, 0xbf, 0x61)})`,
  `new TextDecoder().decode(${bytes(0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf, 0x61)})`,
  `new TextDecoder("utf-8", { ignoreBOM: true }).decode(${bytes(0xef, 0xbb, 0xbf, 0x61)})`,
  `new TextDecoder().decode(${bytes(0x61, 0, 0x62)})`,
  `new TextDecoder().decode(new Uint8Array([0x61, 0x62, 0x63]).subarray(1, 2))`,
  `new TextDecoder().decode(new Uint8Array([0x61, 0x62]).buffer)`,
  `new TextDecoder().decode(new DataView(new Uint8Array([0x61, 0x62]).buffer, 1))`,
  `new TextDecoder().decode(new Uint16Array([0x6261]))`,
  "new TextDecoder().decode()",
  "new TextDecoder().decode('text')",
  "new TextDecoder().decode([97])",
  "new TextDecoder(' UTF8\\n').encoding",
  "[new TextDecoder().fatal, new TextDecoder('utf-8', { fatal: 1 }).fatal, new TextDecoder('utf-8', { ignoreBOM: true }).ignoreBOM]",
  "new TextDecoder('no-such-encoding')",
])

asStated("TextDecoder knows no other encoding", {
  "new TextDecoder('utf-16le')": "throws RangeError",
  "new TextDecoder('latin1')": "throws RangeError",
})

const text = "a\ufeffé€😀\u0000z"
likeNode("TextDecoder may be fed in pieces", [
  ...Array.from({ length: 8 }, (_, size) =>
    piecewise(`[...new TextEncoder().encode(${JSON.stringify(`\ufeff${text}`)})]`, size + 1, "{}"),
  ),
  ...invalid.map((list) => piecewise(`[${[...list, 0x7a]}]`, 1, "{}")),
  ...invalid.map((list) => piecewise(`[${list}]`, 1, "{ fatal: true }")),
  ...invalid.map((list) => piecewise(`[0xe2, ${list}]`, 2, "{ ignoreBOM: true }")),
  "(() => { const d = new TextDecoder(); const a = d.decode(new Uint8Array([0xe2]), { stream: true }); return [a, d.decode(), d.decode(new Uint8Array([0x61]))] })()",
  "(() => { const d = new TextDecoder(); d.decode(new Uint8Array([0xef, 0xbb]), { stream: true }); return d.decode(new Uint8Array([0xbf, 0x61])) })()",
])

function piecewise(list: string, size: number, options: string): string {
  return `(() => {
    const all = ${list}
    const decoder = new TextDecoder("utf-8", ${options})
    const out = []
    for (let i = 0; i < all.length; i += ${size}) out.push(decoder.decode(new Uint8Array(all.slice(i, i + ${size})), { stream: true }))
    out.push(decoder.decode())
    return out.join("")
  })()`
}

likeNode("atob and btoa are inverse on bytes and refuse the rest", [
  ...["", "a", "ab", "abc", "abcd", "\u0000\u00ff\u0080", "\u0100", "😀", "null"].map(
    (s) => `btoa(${JSON.stringify(s)})`,
  ),
  ...[
    "",
    "YQ==",
    "YQ",
    "YWI=",
    "YWJj",
    " Y Q = = ",
    "YQ=",
    "Y",
    "YQ===",
    "=",
    "==",
    "a=b=",
    "Y\tW\nJ\fj\r",
    "-_-_",
    "////",
    "ab\u00a0c",
    "YR==",
    "é",
  ].map((s) => `atob(${JSON.stringify(s)})`),
  "btoa(null)",
  "btoa(12)",
  "atob(null)",
  "(() => { try { atob('!') } catch (error) { return [error.name, error.code, error instanceof DOMException, error instanceof Error] } })()",
])
