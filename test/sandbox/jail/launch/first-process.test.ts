import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { text } from "node:stream/consumers"
import { describe, it } from "node:test"
import { fileURLToPath } from "node:url"
import { missing, PYTHON } from "../../../support/programs.ts"
import { NO_BUBBLEWRAP, NOT_ROOT } from "./launchers.ts"

const END = fileURLToPath(new URL("end-jails.ts", import.meta.url))

/** Nobody reaps what others leave to it then. */
describe("bext as the first process of a container", { skip: NOT_ROOT || NO_BUBBLEWRAP || missing(PYTHON) }, () => {
  for (const without of [[], ["cgroups"], ["user namespaces"]]) {
    const way = without.length === 0 ? "with everything" : `without ${without.join()}`
    it(`has no zombie of any jail, however they ended, ${way}`, async () => {
      const inNamespace = ["--pid", "--fork", "--kill-child", "--mount-proc"]
      const child = spawn("/usr/bin/unshare", [...inNamespace, process.execPath, END, ...without], {
        stdio: ["ignore", "pipe", "inherit"],
      })
      assert.deepEqual(JSON.parse(await text(child.stdout)), { self: 1, others: [] })
    })
  }
})
