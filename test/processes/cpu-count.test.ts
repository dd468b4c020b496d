import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs"
import { availableParallelism } from "node:os"
import { describe, it } from "node:test"
import { cpuCount } from "../../src/processes/cpu-count.ts"
import { createProject } from "../support/serve.ts"

const V1 = "30 20 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct"
const V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"

/** What one machine's files say. */
function count(files: Readonly<Record<string, string>>): number {
  using root = createProject(files)
  return cpuCount(root.folder)
}

describe("cpuCount", { skip: availableParallelism() < 2 && "one CPU cannot become fewer" }, () => {
  it("is the number of CPUs where no quota is set or nothing is known", () => {
    assert.equal(count({ "proc/none": "" }), availableParallelism())
    const unlimited = {
      "proc/self/cgroup": "0::/app\n",
      "proc/self/mountinfo": `${V2}\n`,
      "sys/fs/cgroup/app/cpu.max": "max 100000\n",
    }
    assert.equal(count(unlimited), availableParallelism())
    const minusOne = {
      "proc/self/cgroup": "1:cpu,cpuacct:/app\n",
      "proc/self/mountinfo": `${V1}\n`,
      "sys/fs/cgroup/cpu/app/cpu.cfs_quota_us": "-1\n",
      "sys/fs/cgroup/cpu/app/cpu.cfs_period_us": "100000\n",
    }
    assert.equal(count(minusOne), availableParallelism())
  })

  it("rounds the quota of version 2 up, and is at least 1", () => {
    const limited = (quota: string) => ({
      "proc/self/cgroup": "0::/app\n",
      "proc/self/mountinfo": `${V2}\n`,
      "sys/fs/cgroup/app/cpu.max": `${quota} 100000\n`,
    })
    assert.equal(count(limited("10000")), 1)
    assert.equal(count(limited("100000")), 1)
    assert.equal(count(limited("110000")), 2)
  })

  it("takes the smallest quota on the way up", () => {
    const nested = {
      "proc/self/cgroup": "0::/slice/app/inner\n",
      "proc/self/mountinfo": `${V2}\n`,
      "sys/fs/cgroup/slice/cpu.max": "100000 100000\n",
      "sys/fs/cgroup/slice/app/cpu.max": "400000 100000\n",
    }
    assert.equal(count(nested), 1)
  })

  it("finds the container's own group where only that is mounted", () => {
    const container = {
      "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
      "proc/self/mountinfo": `${V1.replace("/ /sys", "/docker/abc /sys")}\n`,
      "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
      "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert.equal(count(container), 1)
  })

  const folder = `/sys/fs/cgroup/cpu/bext-test-${process.pid}`
  it("honours a real quota of this machine", {
    skip: !makeGroup(folder) && "no cgroup of version 1 can be made here",
  }, () => {
    try {
      const script = `import { cpuCount } from ${JSON.stringify(import.meta.resolve("../../src/processes/cpu-count.ts"))}; console.log(cpuCount())`
      const join = `echo $$ > ${folder}/cgroup.procs && exec "$0" --input-type=module -e "$1"`
      assert.equal(execFileSync("sh", ["-c", join, process.execPath, script], { encoding: "utf8" }), "1\n")
    } finally {
      rmdirSync(folder)
    }
  })
})

/** Makes a group that may use one CPU. @returns whether that is possible. */
function makeGroup(folder: string): boolean {
  try {
    mkdirSync(folder)
  } catch {
    return false
  }
  try {
    writeFileSync(`${folder}/cpu.cfs_quota_us`, "100000")
    return true
  } catch {
    rmdirSync(folder)
    return false
  }
}
