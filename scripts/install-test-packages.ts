/**
 * Installs the Debian packages that tests use, when this machine lets us (root and apt). Otherwise it says what is missing
 * and which tests are therefore skipped. With CI=true a missing package is a failure.
 */
import { spawnSync } from "node:child_process"
import { isInstalled, TEST_PROGRAMS } from "../test/support/programs.ts"

const missing = () => TEST_PROGRAMS.filter((program) => !isInstalled(program))

if (missing().length > 0 && mayInstall()) {
  const packages = missing().map((program) => program.debianPackage)
  console.log(`Installing for the tests: ${packages.join(", ")} (Debian packages; a minute or two)`)
  apt("update")
  apt("install", "--yes", "--no-install-recommends", ...packages)
}

for (const program of missing()) {
  console.log(`Missing: ${program.command} (Debian package ${program.debianPackage}). Skipped: ${program.usedBy}.`)
}
if (missing().length > 0 && process.env.CI === "true") process.exit(1)

function mayInstall(): boolean {
  return process.getuid?.() === 0 && spawnSync("apt-get", ["--version"]).status === 0
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
  const result = spawnSync("apt-get", ["--quiet=2", ...args], { env, stdio: ["ignore", "ignore", "inherit"] })
  if (result.status !== 0) console.log(`apt-get ${args[0]} failed (status ${result.status})`)
}
