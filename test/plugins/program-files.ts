/**
 * The files of a plugin that is a program in Python, which speaks the protocol by itself. `answer(method, params)` of `source`
 * returns the fields of an answer; `HOOKS` are its hooks.
 * @param sandbox - More lines of [sandbox].
 */
export function program(
  name: string,
  source: string,
  capabilities = '"middleware"',
  sandbox = "",
): Readonly<Record<string, string>> {
  const manifest = `[manifest]
name = "${name}"
version = "1.0.0"
capabilities = [${capabilities}]
entry = "main.py"
[sandbox]
type = "nsjail"
interpreter = "/usr/bin/python3"
max_cpu_ms = 2000
${sandbox}
`
  return { [`plugins/${name}/plugin.toml`]: manifest, [`plugins/${name}/main.py`]: PREFIX + source + SUFFIX }
}

const PREFIX = "import json, os, sys, time\n"

const SUFFIX = `
def send(line):
    sys.stdout.write(json.dumps(line) + "\\n")
    sys.stdout.flush()

for line in sys.stdin:
    message = json.loads(line)
    if message["method"] == "hello":
        send({"id": message["id"], "ok": True, "protocol": 1, "hooks": HOOKS})
    elif "id" in message:
        send({"id": message["id"], "ok": True, **(answer(message["method"], message["params"]) or {})})
`
