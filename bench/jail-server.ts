import { NO_JAILS } from "./jail-guests.ts"
import { interleave, median, medianRatio } from "./measure.ts"
import type { Row, Section } from "./report.ts"
import { BASE, startBext } from "./servers.ts"
import { hasWrk, load } from "./wrk.ts"

const TITLE = "Whole server with a program: one process, keep-alive, 64 connections, 5 bytes"
const SECONDS = 2
const ROUNDS = 5

/** The same plugin in Python and as a script of the server's own thread, over loopback, loaded in turn. */
export async function measureJailServer(): Promise<Section> {
  if (NO_JAILS) return { title: TITLE, rows: [], notes: [`Nothing was measured: ${NO_JAILS}.`] }
  if (!hasWrk()) throw new Error("the load generator wrk is missing (Debian package wrk)")
  const python = '[plugins.one-header-python]\npath = "BENCH/plugins/one-header-python"\n'
  const quickjs = '[plugins.one-header]\npath = "BENCH/plugins/one-header/index.js"\n'
  // The program needs a core too: whoever pins the server to one pins its programs with it.
  await using none = await startBext(BASE, [])
  await using program = await startBext(BASE + python, [])
  await using script = await startBext(BASE + quickjs, [])
  const loading = (url: string) => async () => (await load(`${url}/hello.txt`, SECONDS, [], [])).perSecond
  const rates = await interleave(
    { none: loading(none.url), program: loading(program.url), script: loading(script.url) },
    { rounds: ROUNDS, warmUp: 1 },
  )
  const row = (what: string, name: keyof typeof rates): Row => ({
    what,
    value: median(rates[name]),
    unit: "requests/s",
    comparedTo: "no plugin",
    ratio: medianRatio(rates[name], rates.none),
  })
  return {
    title: TITLE,
    rows: [
      row("no plugin", "none"),
      row("one Python plugin in a jail, on_request", "program"),
      row("one QuickJS plugin, both hooks", "script"),
    ],
    notes: ["Server, program and load generator share the machine's cores: nothing is pinned."],
  }
}
