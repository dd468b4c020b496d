import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { GuestSource, ProgramSource } from "../../../src/sandbox/sandbox.ts"
import { PROGRAM } from "./load-jail.ts"

/**
 * What programs of tests have in common: `say` writes a line, `raw` writes bytes, `hear` reads a line, `greet` is version 1,
 * `serve` gives each call to a function, whose fields are the answer; None: it has answered by itself. "/calm" is answered.
 */
export const PRELUDE = `
import json, os, signal, socket, sys, time

def raw(data):
    while data:
        data = data[os.write(1, data):]

def say(**message):
    raw(json.dumps(message).encode() + b"\\n")

def hear():
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(0)
    return json.loads(line)

def greet(*hooks, **more):
    say(id=hear()["id"], ok=True, protocol=1, hooks=hooks or ["onRequest"], **more)

def next_call():
    while True:
        message = hear()
        if "id" in message and message["method"] != "result":
            return message

def result(id):
    while True:
        message = hear()
        if message["method"] == "result" and message["id"] == id:
            return message["params"]

def ask(method, call=None, **params):
    say(id="asked", method=method, params=params, **({} if call is None else {"call": call}))
    return result("asked")

def text(body):
    return {"action": "respond", "body": str(body)}

def serve(deed):
    while True:
        call = next_call()
        path = (call["params"] or {}).get("path")
        fields = {} if path == "/calm" else deed(call, path)
        if fields is not None:
            say(id=call["id"], ok=True, **fields)
`

export interface WrittenProgram extends Disposable {
  readonly source: GuestSource
}

/** A plugin of one file in Python. @param more - In place of what programs of tests have. */
export function writeProgram(code: string, more: Partial<ProgramSource> = {}): WrittenProgram {
  const folder = mkdtempSync(join(tmpdir(), "bext-program-"))
  // Jails run as another user.
  chmodSync(folder, 0o755)
  const entry = join(folder, "main.py")
  writeFileSync(entry, PRELUDE + code)
  return {
    source: { name: "hostile", folder, entry, program: { ...PROGRAM, ...more } },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
