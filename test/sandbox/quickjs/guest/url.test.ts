import { asStated, likeNode } from "./everywhere.ts"

const PARTS =
  "['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash']"
const parts = (url: string) => `(() => { const url = ${url}; return ${PARTS}.map((name) => url[name]) })()`
const parsed = (url: string, base?: string) => {
  const args = base === undefined ? JSON.stringify(url) : `${JSON.stringify(url)}, ${JSON.stringify(base)}`
  return parts(`new URL(${args})`)
}

/** Numbers that are the same in every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return (state >>> 8) % below
  }
}

likeNode("URL splits absolute URLs into their parts", [
  ...[
    "http://user:pass@example.com:8080/a/b?c=d#e",
    "HTTP://EXAMPLE.com:80/",
    "https:example.com",
    "https:////example.com\\a\\b",
    "http://a@b@c:d@host/",
    "http://@host/",
    "http://:@host/",
    "http://user@/",
    "http://host:/",
    "http://host:65535",
    "http://host:65536",
    "http://host:8a",
    "http://",
    "http://?x",
    "ws://h:80/ws",
    "ftp://h:21/",
    "file:///etc/passwd",
    "file://localhost/x",
    "file://host/c|/x",
    "file:c:\\windows\\..\\x",
    "file:",
    "mailto:a@b.c?subject=é",
    "data:text/plain,hello world",
    "javascript:alert(1) #x",
    "blob:https://h/id",
    "blob:foo",
    "foo://host:80/p",
    "foo://h o/",
    "foo:/a/../b",
    "foo:/.//p",
    "foo:",
    " \t http://h/a\nb \n",
    "http://h/%41%zz/é😀\ud800?é'\"#é`",
    "http://h/a/./b/../c/%2e%2E/d/.%2e",
    "http://h/a|b^c{d}`e",
    "",
    "/relative",
    "//host",
    "1http://x",
    "http//x",
    "http://%41.example",
    "http://ex%41mple.com",
    "http://a%2fb/",
    "http://a b/",
    "http://a_b/",
    "http://a..b/",
    "http://.",
  ].map((url) => parsed(url)),
])

likeNode("URL reads IPv4 and IPv6 hosts in every notation", [
  ...[
    "127.0.0.1",
    "2130706433",
    "0x7f000001",
    "017700000001",
    "0x7f.1",
    "127.1",
    "1.2.3",
    "1.2.3.4.",
    "1.2.3.4.5",
    "256.0.0.1",
    "1.2.3.256",
    "4294967295",
    "4294967296",
    "1.2.0x10000",
    "09",
    "1.09",
    "0x",
    "1.x",
    "a.1",
    "1..2",
    "[::1]",
    "[::]",
    "[1:2:3:4:5:6:7:8]",
    "[1::8]",
    "[1:0:0:4:0:0:0:8]",
    "[0:0:1:0:0:1:0:0]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[1:2:3:4:5:6:1.2.3.4]",
    "[::1.2.3]",
    "[::1.2.3.256]",
    "[::01.2.3.4]",
    "[::1.2.3.4:5]",
    "[1.2.3.4::]",
    "[1:2]",
    "[1::2::3]",
    "[:::]",
    "[:1]",
    "[1:]",
    "[12345::]",
    "[g::]",
    "[::1%25eth0]",
    "[::1",
    "::1]",
    "[]",
    "[ABCD::Ef01]",
  ].flatMap((host) => [parsed(`http://${host}/`), parsed(`foo://${host}/`)]),
])

const TOKENS = [
  ..."/ \\ ? # @ : a . .. % %41 %zz ^ | ` { } \" ' < > ~ & = + ; [ ] 0 80 443".split(" "),
  ...["http:", "https:", "file:", "ws:", "foo:", "mailto:", "//", "///", "b.c", "%2e", "%2E%2e", "C:", "c|"],
  ...["C|/", "example.com", "127.0.0.1", "0x7f.1", "[::1]", "[1:2::3]", " ", "\t", "\n", "\u0000", "\u007f", "x/"],
]
const BASES = [
  "http://user:pw@host:8080/a/b/c?q#f",
  "file:///C:/x/y",
  "file://h/x",
  "foo://h/p/a?q",
  "foo:opaque",
  "foo:/abs/x",
  "https://h",
]

likeNode("URL resolves a thousand seeded references as Node does", [...randomReferences(1000)])

function* randomReferences(count: number): Generator<string> {
  const below = seeded(2025)
  for (let i = 0; i < count; i++) {
    let url = ""
    for (let n = below(7); n >= 0; n--) url += TOKENS[below(TOKENS.length)]
    yield parsed(url, BASES[below(BASES.length + 2)])
  }
}

const SETTERS = ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"]
const START = [
  "http://user:pw@host:8080/a?q#f",
  "https://h:444/",
  "file:///C:/x?z",
  "foo://h/p?q",
  "foo:opaque ?x#y",
  "foo:/.//p",
]
const VALUES = [
  ..."http https: ftp file foo:bar x:y host host:90 host: :80 h:80x h:99999 a@b [::1]:3 [::1 80 443 0 65536 08 8a".split(
    " ",
  ),
  ..."/p //p \\p a/../b .. ?q #h q?h# %41 %zz C| /C|/.. localhost 1.2 <> ^|' /.//x".split(" "),
  ...["", " ", "a\tb", "x y", "\u0000", "\ud800"],
]

likeNode(
  "URL setters change what they may and ignore the rest",
  START.flatMap((start) =>
    SETTERS.map(
      (setter) => `${JSON.stringify(VALUES)}.map((value) => {
        const url = new URL(${JSON.stringify(start)})
        const params = url.searchParams
        try { url.${setter} = value } catch (error) { return error.name }
        return ${PARTS}.map((name) => url[name]).concat(String(params))
      })`,
    ),
  ),
)

likeNode("URL and its searchParams follow each other", [
  "(() => { const u = new URL('http://h/?a=1'); u.searchParams.append('b c', 'é&'); return [u.href, u.search] })()",
  "(() => { const u = new URL('http://h/?a=1'); u.searchParams.delete('a'); return u.href })()",
  "(() => { const u = new URL('http://h/'); const p = u.searchParams; u.search = '?x=1&x=2'; return [p.getAll('x'), p === u.searchParams, p.size] })()",
  "(() => { const u = new URL('http://h/?a=~'); u.searchParams.sort(); return u.href })()",
  "JSON.stringify({ u: new URL('http://h') })",
  "String(new URL('http://h'))",
  "[URL.canParse('http://h'), URL.canParse('/x'), URL.canParse('/x', 'http://h'), URL.parse('x'), URL.parse('x', 'foo://y/z').href]",
  "Object.prototype.toString.call(new URL('http://h')) + Object.prototype.toString.call(new URLSearchParams())",
  "new URL()",
  "URL('http://h')",
  "new URL({ toString: () => 'http://h/x' }).href",
  "new URL('x', new URL('http://h/y/z')).href",
])

asStated("URL refuses hosts it cannot check: non-ASCII ones", {
  "new URL('http://bücher.example/')": "throws TypeError",
  "new URL('http://b%C3%BCcher.example/')": "throws TypeError",
  "new URL('http://xn--bcher-kva.example/').host": "xn--bcher-kva.example",
  "(() => { try { new URL('http://é/') } catch (error) { return error.message } })()":
    'Invalid URL: "é": write a non-ASCII host in punycode',
})

const QUERY_TOKENS = [
  ..."a b = & + %20 % %4 %zz %c3%a9 ? # ~ ! ' ( * && == %F0%9F%98%80 %f0%9f %EF%BB%BF %e9".split(" "),
  " ",
  "\n",
]

likeNode("URLSearchParams reads and writes forms", [
  ...["", "?", "a", "a=b&c", "?a=1&a=2&b=", "=", "&&", "a=b=c", "+a+=%2B", "\ud800=é", "é=%c3%a9"].map(
    (query) =>
      `(() => { const p = new URLSearchParams(${JSON.stringify(query)}); return [[...p], String(p), p.size] })()`,
  ),
  `${JSON.stringify([...randomQueries(500)])}.map((query) => {
    const params = new URLSearchParams(query)
    const before = [[...params], String(params), params.get("a"), params.getAll("b"), params.has("a", "b")]
    params.set("a", "1")
    params.append("c d", "é&")
    params.delete("b")
    params.sort()
    return [before, String(params)]
  })`,
  "String(new URLSearchParams({ a: 1, b: 'x y' }))",
  "String(new URLSearchParams([['a', 'b'], ['a', 'c']]))",
  "String(new URLSearchParams(new Map([['x', 'y']])))",
  "String(new URLSearchParams(new URLSearchParams('q=1&q=2')))",
  "new URLSearchParams([['a']])",
  "new URLSearchParams([1])",
  "String(new URLSearchParams(undefined)) + String(new URLSearchParams(null))",
  "(() => { const p = new URLSearchParams('a=1&a=2&b=3'); p.delete('a', '2'); return [String(p), p.has('a', '9'), p.has('b')] })()",
  "(() => { const p = new URLSearchParams('a=1&b=2'); const out = []; p.forEach((v, k) => out.push(k + v)); return [out, [...p.keys()], [...p.values()]] })()",
  "(() => { const p = new URLSearchParams('z=1&\\ud83d=2&\\uffff=3&a=4&z=0'); p.sort(); return String(p) })()",
])

function* randomQueries(count: number): Generator<string> {
  const below = seeded(7)
  for (let i = 0; i < count; i++) {
    let query = ""
    for (let n = below(8); n >= 0; n--) query += QUERY_TOKENS[below(QUERY_TOKENS.length)]
    yield query
  }
}

asStated("a broken escape does not spoil the characters around it", {
  "[...new URLSearchParams('é=%e9')]": [["é", "\ufffd"]],
})
