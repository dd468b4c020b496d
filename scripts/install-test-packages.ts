/**
 * Installs the Debian packages that tests use, when this machine lets us (root and apt). Otherwise it says what is missing
 * and which tests are therefore skipped. With CI=true a missing program is a failure.
 */
import { spawnSync } from "node:child_process"
import { isInstalled, TEST_PROGRAMS, whence } from "../test/support/programs.ts"

const missing = () => TEST_PROGRAMS.filter((program) => !isInstalled(program))

const lists = missing().flatMap(({ debianPackages }) => (debianPackages.length === 0 ? [] : [debianPackages]))

if (lists.length > 0 && mayInstall()) {
  console.log(`Installing for the tests: ${lists.flat().join(", ")} (Debian packages; a minute or two)`)
  apt("update")
  // One after another: a name that this release of Debian does not have keeps nothing else away.
  for (const packages of lists) apt("install", "--yes", "--no-install-recommends", ...packages)
}

for (const program of missing()) {
  console.log(`Missing: ${program.command} (${whence(program)}). Skipped: ${program.usedBy}.`)
}
if (missing().length > 0 && process.env.CI === "true") process.exit(1)

function mayInstall(): boolean {
  return process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  const result = spawnSync("apt-get", ["--quiet=2", ...args], { env, stdio: ["ignore", "ignore", "inherit"] })
  if (result.status !== 0) console.log(`apt-get ${args.join(" ")} failed (status ${result.status})`)
}
