import { execFile, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readdirSync } from "node:fs"
import { cp, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { missing, type TestProgram, WASI_CLANG, WASM_LD } from "../../../support/programs.ts"

const run = promisify(execFile)

const CRATE = "http-wasm-guest"
const EXAMPLES = ["header", "info"]
const PINNED = fileURLToPath(new URL("../../../fixtures/third-party-guests", import.meta.url))

/** Rust's compiler of Debian's browsers with what it needs. It cannot be installed beside the rustc that other tests use. */
const PACKAGES = ["rustc-web", "cargo-web", "rust-web-src", "libstd-rust-web-dev"]
const WASI_LIBC = "/usr/lib/wasm32-wasi"

const APT: TestProgram = {
  command: "apt-get",
  debianPackages: ["apt"],
  usedBy: "third-party guests of the http-wasm ABI",
}

/** Why they cannot be built here; false: they can. @throws {Error} with CI=true, where nothing is skipped. */
export const NO_THIRD_PARTY: string | false = missing(APT, WASM_LD, WASI_CLANG) || lacksPackages()

/**
 * Builds the examples of a crate as cargo fetched it, byte for byte, for wasm32-wasip1. No package has Rust's standard
 * library for that target, so it is built from its source, too. What was built once is kept in the folder of temporary files.
 * @returns the folder with NAME.wasm for each example.
 */
export async function buildThirdPartyGuests(): Promise<string> {
  const recipe = await Promise.all(
    [join(PINNED, "Cargo.lock"), fileURLToPath(import.meta.url)].map((file) => readFile(file)),
  )
  const hash = createHash("sha256").update(Buffer.concat(recipe)).digest("hex")
  const kept = join(tmpdir(), "bext-test-guests", `third-party-${hash}`)
  if (existsSync(kept)) return kept
  const folder = await mkdtemp(join(tmpdir(), "bext-third-party-"))
  try {
    const cargo = await unpackRust(join(folder, "rust"))
    const crate = await fetchCrate(cargo, join(folder, "pinned"))
    const target = join(folder, "target")
    await cargo(crate, [
      "build",
      ...["--release", "--locked", "--examples", "--target", "wasm32-wasip1"],
      ...["-Zbuild-std=std,panic_abort", "--target-dir", target],
    ])
    const built = join(folder, "built")
    await mkdir(built)
    for (const name of EXAMPLES) {
      await cp(join(target, "wasm32-wasip1/release/examples", `${name}.wasm`), join(built, `${name}.wasm`))
    }
    await mkdir(join(kept, ".."), { recursive: true })
    await rename(built, kept)
    return kept
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** With CI=true, lists of packages that are missing are fetched. */
function lacksPackages(): string | false {
  if (process.env.CI === "true") return false
  const { stdout } = spawnSync("apt-cache", ["policy", ...PACKAGES], { encoding: "utf8" })
  const known = stdout.split("\n").filter((line) => /^ +Candidate: \d/.test(line)).length
  return known < PACKAGES.length && `apt does not know the Debian packages ${PACKAGES.join(", ")}`
}

type Cargo = (folder: string, args: readonly string[]) => Promise<string>

/** Unpacks the packages without installing them. @returns their cargo, with an environment that finds everything. */
async function unpackRust(folder: string): Promise<Cargo> {
  await mkdir(folder)
  await download(folder)
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb"))) {
    await run("dpkg-deb", ["--extract", file, "root"], { cwd: folder })
    await rm(join(folder, file))
  }
  const usr = join(folder, "root/usr")
  const flags = [
    ...["-C", "linker=wasm-ld", "-C", "link-self-contained=no", "-L", WASI_LIBC],
    ...["-C", `link-arg=${WASI_LIBC}/crt1-command.o`],
  ]
  const env = {
    ...process.env,
    LD_LIBRARY_PATH: join(usr, "lib", process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu"),
    RUSTC: join(usr, "bin/rustc"),
    RUSTFLAGS: flags.join(" "),
    // Building the standard library is not for stable compilers otherwise.
    RUSTC_BOOTSTRAP: "1",
  }
  return async (cwd, args) => {
    const options = { cwd, env, maxBuffer: 16 * 1024 * 1024, timeout: 500_000 }
    return (await run(join(usr, "bin/cargo"), args, options)).stdout
  }
}

async function download(folder: string): Promise<void> {
  const names = async () => [...PACKAGES, ...(await librariesOf("libstd-rust-web-dev", /^libstd-rust-web-/))]
  const get = async () => {
    const libraries = await names()
    const compiler = libraries.at(-1)!
    return run("apt-get", ["download", ...libraries, ...(await librariesOf(compiler, /^libllvm/))], { cwd: folder })
  }
  try {
    await get()
  } catch {
    // The lists are missing or older than the archive.
    await run("apt-get", ["--quiet=2", "update"])
    await get()
  }
}

/** Packages that a package depends on, of some names: they have the version in them. */
async function librariesOf(name: string, wanted: RegExp): Promise<string[]> {
  const { stdout } = await run("apt-cache", ["depends", "--no-recommends", "--no-suggests", name])
  const found = stdout.split("\n").flatMap((line) => /^ +Depends: (\S+)$/.exec(line)?.[1] ?? [])
  return found.filter((one) => wanted.test(one))
}

/** @returns the folder of the crate, of the version and with the checksum in Cargo.lock. */
async function fetchCrate(cargo: Cargo, folder: string): Promise<string> {
  await cp(PINNED, folder, { recursive: true })
  await cargo(folder, ["fetch", "--locked"])
  const metadata = JSON.parse(await cargo(folder, ["metadata", "--locked", "--offline", "--format-version", "1"])) as {
    packages: { name: string; manifest_path: string }[]
  }
  return join(metadata.packages.find(({ name }) => name === CRATE)!.manifest_path, "..")
}
