import { asStated, likeNode } from "./everywhere.ts"

const cloned = (value: string, look: string) => `(() => { const c = structuredClone(${value}); return ${look} })()`

likeNode("structuredClone copies data of every kind", [
  ...["1", "'a'", "null", "true", "[1, [2, , 3]]", "{ a: { b: 1 } }", "undefined"].map((v) =>
    cloned(`(${v})`, "[c, typeof c]"),
  ),
  cloned("12n", "String(c)"),
  cloned("-0", "Object.is(c, -0)"),
  cloned("[1, , 3]", "[c.length, 1 in c]"),
  cloned("Object.assign([1], { x: 2 })", "[c.x, c.length]"),
  cloned("new Date(5)", "[c instanceof Date, c.getTime()]"),
  cloned("new Date(NaN)", "String(c.getTime())"),
  cloned("/a+/gi", "[String(c), c.lastIndex]"),
  cloned("(() => { const r = /a/g; r.lastIndex = 3; return r })()", "c.lastIndex"),
  cloned("new Map([[{ a: 1 }, new Set([1, 'x'])]])", "[[...c.keys()], [...[...c.values()][0]]]"),
  cloned("new Uint8Array([1, 2, 3])", "[...c]"),
  cloned("new Float64Array([1.5, NaN])", "[c.constructor.name, c[0]]"),
  cloned("new BigInt64Array([1n])", "String(c[0])"),
  cloned("new Uint8Array([1, 2, 3]).subarray(1)", "[c.length, c.byteOffset, c.buffer.byteLength]"),
  cloned("new DataView(new ArrayBuffer(4), 1, 2)", "[c.constructor.name, c.byteOffset, c.byteLength]"),
  cloned(
    "(() => { const b = new ArrayBuffer(2); return [new Uint8Array(b), new Uint8Array(b), b] })()",
    "c[0].buffer === c[1].buffer && c[2] === c[0].buffer",
  ),
  cloned("[Object(1), Object('a'), Object(true), Object(3n)]", "c.map((x) => typeof x + typeof x.valueOf())"),
  cloned(
    "new TypeError('no', { cause: { a: 1 } })",
    "[c instanceof TypeError, c.message, c.cause, c.name, typeof c.stack]",
  ),
  cloned(
    "Object.assign(new Error('m'), { name: 'Custom', extra: 1 })",
    "[c.name, c.message, c.extra === undefined, Object.keys(c)]",
  ),
  cloned(
    "(() => { const a = { n: 1 }; a.self = a; a.list = [a]; return a })()",
    "c.self === c && c.list[0] === c && c !== undefined",
  ),
  cloned("(() => { const m = new Map(); m.set('m', m); return m })()", "c.get('m') === c"),
  cloned("(() => { const s = new Set(); s.add(s); return s })()", "c.has(c)"),
  cloned("(() => { const x = {}; return [x, x] })()", "c[0] === c[1]"),
  cloned("new (class A { b = 1; get d() { return 2 } })()", "[Object.keys(c), c.constructor === Object]"),
  cloned('JSON.parse(\'{"__proto__": {"x": 1}}\')', "[Object.keys(c), c.x === undefined]"),
  cloned("Object.defineProperty({ a: 1 }, 'hidden', { value: 2 })", "Object.keys(c)"),
  cloned("{ get a() { return 7 } }", "Object.getOwnPropertyDescriptor(c, 'a').value"),
  cloned("{ [Symbol('s')]: 1, a: 2 }", "Reflect.ownKeys(c)"),
])

likeNode("structuredClone refuses what has no copy", [
  ...[
    "() => 1",
    "Symbol('x')",
    "[() => 1]",
    "{ a: Symbol() }",
    "new WeakMap()",
    "new WeakSet()",
    "Promise.resolve()",
    "new WeakRef({})",
    "Object(Symbol())",
  ].map((value) => `structuredClone(${value.startsWith("{") ? `(${value})` : value})`),
  "structuredClone({ get a() { throw new RangeError('x') } })",
  "(() => { try { structuredClone(() => 1) } catch (error) { return [error.name, error.code, error instanceof DOMException] } })()",
])

asStated("structuredClone transfers nothing", {
  "(() => { const b = new ArrayBuffer(1); try { structuredClone(b, { transfer: [b] }) } catch (error) { return [error.name, b.byteLength] } })()":
    ["DataCloneError", 1],
  "structuredClone([1], { transfer: [] })": [1],
})

likeNode("queueMicrotask runs after the current job, in order with promises", [
  "(async () => { const out = []; queueMicrotask(() => out.push(2)); Promise.resolve().then(() => out.push(3)); out.push(1); await null; await null; return out })()",
  "queueMicrotask('x')",
  "queueMicrotask()",
])

likeNode("AbortSignal aborts once, with a reason, and tells its listeners", [
  "(() => { const c = new AbortController(); const out = [c.signal.aborted]; c.signal.addEventListener('abort', (e) => out.push(e.type, e.target === c.signal)); c.signal.onabort = () => out.push('on'); c.abort(); c.abort('again'); return [...out.slice(0, 1), out.slice(1).length, c.signal.aborted, c.signal.reason.name, c.signal.reason.code] })()",
  "(() => { const c = new AbortController(); c.abort('why'); return [c.signal.reason] })()",
  "(() => { const c = new AbortController(); c.signal.throwIfAborted(); c.abort(new RangeError('x')); c.signal.throwIfAborted() })()",
  "(() => { const c = new AbortController(); let n = 0; const f = () => n++; c.signal.addEventListener('abort', f); c.signal.addEventListener('abort', f); c.signal.addEventListener('other', f); c.abort(); return n })()",
  "(() => { const c = new AbortController(); let n = 0; const f = () => n++; c.signal.addEventListener('abort', f); c.signal.removeEventListener('abort', f); c.abort(); return n })()",
  "(() => { const c = new AbortController(); let n = 0; c.signal.addEventListener('abort', { handleEvent() { n++ } }, { once: true }); c.abort(); return n })()",
  "[AbortSignal.abort().reason.name, AbortSignal.abort(1).reason, AbortSignal.abort().aborted]",
  "(() => { const a = new AbortController(); const b = new AbortController(); const any = AbortSignal.any([a.signal, b.signal]); b.abort('b'); a.abort('a'); return [any.aborted, any.reason] })()",
  "[AbortSignal.any([AbortSignal.abort('x')]).reason, AbortSignal.any([]).aborted]",
  "new AbortSignal()",
  "(async () => { const s = AbortSignal.timeout(1); await new Promise((done) => s.addEventListener('abort', done)); return [s.aborted, s.reason.name, s.reason.code] })()",
])

likeNode("DOMException has a name, a message and the old code", [
  "(() => { const e = new DOMException('m', 'AbortError'); return [e.name, e.message, e.code, e instanceof Error, String(e)] })()",
  "(() => { const e = new DOMException(); return [e.name, e.message, e.code] })()",
  "new DOMException('m', 'constructor').code",
  "new DOMException('m', 'OddError').code",
])
