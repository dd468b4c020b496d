import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { it, type TestContext } from "node:test"
import { DataQuota } from "../../../src/sandbox/jail/data-quota.ts"

const KIB = 1024

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "bext-quota-"))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

it("counts what files take, in folders as well", async (t) => {
  const folder = await folderOf(t)
  const quota = new DataQuota("keeper", folder, 100 * KIB)
  await quota.check()
  await mkdir(join(folder, "deep", "deeper"), { recursive: true })
  await writeFile(join(folder, "deep", "deeper", "file"), Buffer.alloc(200 * KIB, 1))
  await assert.rejects(quota.check(), { code: "E_LIMIT_STORAGE", message: /keeper: .*more than 102400 bytes/ })
})

it("looks at a file once, not at what a link leads to", async (t) => {
  const folder = await folderOf(t)
  const outside = await folderOf(t)
  await writeFile(join(outside, "large"), Buffer.alloc(200 * KIB, 1))
  await symlink(outside, join(folder, "link"))
  await symlink(folder, join(folder, "loop"))
  await new DataQuota("keeper", folder, 100 * KIB).check()
})

it("takes a sparse file for what it takes", async (t) => {
  const folder = await folderOf(t)
  await writeFile(join(folder, "sparse"), "")
  await truncate(join(folder, "sparse"), 1024 * 1024 * KIB)
  await new DataQuota("keeper", folder, 100 * KIB).check()
})

it("counts files, however small", async (t) => {
  const folder = await folderOf(t)
  for (let at = 0; at < 10_001; at += 1000) {
    const some = Array.from({ length: Math.min(1000, 10_001 - at) }, (_, i) => writeFile(join(folder, `${at + i}`), ""))
    await Promise.all(some)
  }
  await assert.rejects(new DataQuota("keeper", folder, 1024 * 1024 * KIB).check(), /more than 10000 files/)
})

it("is over when a part of the folder cannot be looked at, because it is too deep", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "bext-quota-"))
  t.after(() => execFileSync("rm", ["-r", folder]))
  const program = "import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(20): os.mkdir('d' * 250); os.chdir('d' * 250)"
  // No path reaches all the way down, so that nothing but one step after another does.
  execFileSync("python3", ["-c", program, folder])
  await assert.rejects(new DataQuota("keeper", folder, 1024 * KIB).check(), /too deep/)
})

it("tells of a folder that gets too large, and again when it still is", async (t) => {
  const folder = await folderOf(t)
  const quota = new DataQuota("keeper", folder, 10 * KIB)
  let told = 0
  const twice = new Promise<void>((resolve) => {
    quota.watch(
      () => true,
      () => {
        if (++told === 2) resolve()
      },
    )
  })
  await writeFile(join(folder, "file"), Buffer.alloc(64 * KIB, 1))
  const alive = setInterval(() => {}, 100)
  await twice
  clearInterval(alive)
  quota.end()
  assert.equal(quota.error.code, "E_LIMIT_STORAGE")
})

it("does not look at a folder whose program has done nothing", async (t) => {
  const folder = await folderOf(t)
  await writeFile(join(folder, "file"), Buffer.alloc(64 * KIB, 1))
  const quota = new DataQuota("keeper", folder, 10 * KIB)
  await new Promise<void>((resolve, reject) => {
    let asked = 0
    const worked = () => {
      if (++asked === 2) resolve()
      return false
    }
    quota.watch(worked, () => reject(new Error("it looked")))
    const alive = setTimeout(() => reject(new Error("it was never asked")), 20_000)
    t.after(() => clearTimeout(alive))
  })
  quota.end()
})

it("takes a folder that is not there for empty", async (t) => {
  await new DataQuota("keeper", join(await folderOf(t), "none"), 1).check()
})
