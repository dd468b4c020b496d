import assert from "node:assert/strict"
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { JailFolder } from "./jail-folder.ts"
import { IS_ROOT, NO_BUBBLEWRAP, openLauncher, WAYS } from "./launchers.ts"

const PATH = "/usr/local/bin:/usr/bin:/bin"

for (const { way, without, root } of WAYS) {
  const skip = NO_BUBBLEWRAP || (root && !IS_ROOT ? "this is not root" : false)
  // Outside a user namespace, it is who root has chosen.
  const uid = without.includes("user namespaces") ? "65534" : "1000"
  const hasProc = !without.includes("proc")

  describe(`a jail with ${way}`, { skip }, async () => {
    it("has an environment of its own, and what it was given", async () => {
      process.env.BEXT_TEST_SECRET = "of the host"
      using folder = new JailFolder()
      await using launcher = await openLauncher(without, folder.path)
      const env = await folder.sh(launcher, "env", { env: { THRESHOLD: "80" } })
      const plain = await folder.run(launcher, ["env"])
      delete process.env.BEXT_TEST_SECRET
      const names = plain.stdout
        .trim()
        .split("\n")
        .map((line) => line.split("=")[0])
      assert.deepEqual(names.sort(), ["HOME", "LANG", "PATH", "PWD", "PYTHONPATH", "TMPDIR"])
      assert.deepEqual(env.trim().split("\n").sort(), [
        "HOME=/tmp",
        "LANG=C.UTF-8",
        `PATH=${PATH}`,
        "PWD=/plugin",
        "PYTHONPATH=/bext/python",
        "THRESHOLD=80",
        "TMPDIR=/tmp",
      ])
    })

    it("gives a program's environment to nobody before the program", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const { stderr } = await folder.run(launcher, ["true"], { env: { LD_PRELOAD: "/plugin/none.so" } })
      // Every program complains that runs with it.
      assert.equal(stderr.match(/LD_PRELOAD/g)?.length, 1, stderr)
    })

    it("runs a program as nobody, without privileges and without a way to get any", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      assert.equal(await folder.sh(launcher, "id -u; id -g; umask"), `${uid}\n${uid}\n0022\n`)
      if (!hasProc) return
      const status = await folder.sh(launcher, "cat /proc/self/status")
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        assert.match(status, new RegExp(`^${set}:\\t0{16}$`, "m"))
      }
      assert.match(status, /^NoNewPrivs:\t1$/m)
      assert.match(status, /^Seccomp:\t2$/m)
      assert.match(status, /^Groups:\t *$/m)
    })

    it("shows the plugin, programs and libraries, and nothing else of this machine", async () => {
      using folder = new JailFolder({ "main.py": "" })
      mkdirSync(join(folder.path, "sdk"))
      writeFileSync(join(folder.path, "sdk", "bext.py"), "")
      await using launcher = await openLauncher(without, join(folder.path, "sdk"))
      const list = async (path: string) =>
        (await folder.sh(launcher, `ls -A ${path}`)).trim().split("\n").filter(Boolean)
      const roots = ["bin", "lib", "lib32", "lib64", "libx32", "sbin"].filter((name) => existsSync(`/${name}`))
      assert.deepEqual(await list("/"), ["bext", "dev", "etc", "plugin", "proc", "tmp", "usr", ...roots].sort())
      assert.deepEqual(await list("/plugin"), ["main.py", "sdk"])
      assert.deepEqual(await list("/bext/python"), ["bext.py"])
      const shared = ["ld.so.cache", "alternatives", "localtime"].filter((name) => existsSync(`/etc/${name}`))
      assert.deepEqual(
        await list("/etc"),
        ["group", "hosts", "nsswitch.conf", "passwd", "resolv.conf", ...shared].sort(),
      )
      const devices = ["full", "null", "ptmx", "pts", "random", "shm", "tty", "urandom", "zero"]
      const links = ["core", "fd", "stderr", "stdin", "stdout"]
      const seen = await list("/dev")
      assert.deepEqual(
        seen.filter((name) => ![...devices, ...links].includes(name)),
        [],
      )
      assert.equal(await folder.sh(launcher, "hostname"), "plugin\n")
      assert.equal(await folder.sh(launcher, "cat /etc/passwd | cut -d: -f1,3"), "root:0\nplugin:1000\nnobody:65534\n")
    })

    it("can write to /tmp, /dev/shm and /data, and to nothing else", async () => {
      using folder = new JailFolder({ "main.py": "" })
      const dataFolder = `${folder.path}-data`
      await using launcher = await openLauncher(without, folder.path)
      const script = `for place in / /etc /usr /usr/bin /plugin /bext /bext/python /dev /proc /proc/1 /data /tmp /dev/shm; do
        ( : > $place/made ) 2>/dev/null && echo $place; done; true`
      using _ = { [Symbol.dispose]: () => rmSync(dataFolder, { recursive: true, force: true }) }
      assert.equal(await folder.sh(launcher, script, { dataFolder }), "/data\n/tmp\n/dev/shm\n")
      assert.deepEqual(readdirSync(dataFolder), ["made"])
      assert.equal(statSync(dataFolder).mode & 0o777, 0o700)
      assert.equal(statSync(join(dataFolder, "made")).uid, IS_ROOT ? 65534 : process.getuid?.())
      // It stays, and a jail without it has none.
      assert.equal(await folder.sh(launcher, "ls /data; echo $BEXT_DATA", { dataFolder }), "made\n/data\n")
      assert.equal(await folder.sh(launcher, "test -e /data || echo none"), "none\n")
    })

    it("makes no file that runs as whoever owns it, wherever it can write", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const dataFolder = `${folder.path}-data`
      using _ = { [Symbol.dispose]: () => rmSync(dataFolder, { recursive: true, force: true }) }
      const script = `
        for place in /data /tmp /dev/shm; do
          cp /bin/true $place/file && chmod 755 $place/file || exit
          for mode in u+s g+s 4755 2755 6755; do chmod $mode $place/file 2>/dev/null && echo $place $mode; done
          [ -u $place/file ] || [ -g $place/file ] && echo $place
        done
        echo tried`
      assert.equal(await folder.sh(launcher, script, { dataFolder }), "tried\n")
    })

    it("has sizes for everything it can write to in memory, also when it is given none", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const script = "df --block-size=1 --output=size /tmp /dev/shm | tail -n 2"
      const sizes = async (tmpBytes: number) =>
        (await folder.sh(launcher, script, { limits: { tmpBytes } })).trim().split(/\s+/).map(Number)
      assert.deepEqual(await sizes(2 ** 20), [2 ** 20, 2 ** 18])
      assert.deepEqual(await sizes(0), [4096, 4096])
      const full = await folder.run(launcher, ["sh", "-c", "head -c 2000000 /dev/zero > /tmp/file"], {
        limits: { tmpBytes: 2 ** 20 },
      })
      assert.match(full.stderr, /No space left/)
    })

    it("shows the paths that the operator named, at the same place and read only, below /tmp too", async () => {
      using folder = new JailFolder()
      using shown = new JailFolder({ model: "weights" })
      using other = new JailFolder({ secret: "" })
      const note = join(other.path, "note")
      writeFileSync(note, " and a note", { mode: 0o644 })
      await using launcher = await openLauncher(without)
      const script = `cat ${shown.path}/model ${note}; ( : > ${shown.path}/model ) 2>/dev/null || echo; ls ${other.path}`
      const seen = await folder.sh(launcher, script, { readOnlyPaths: [shown.path, note] })
      assert.equal(seen, "weights and a note\nnote\n")
    })

    it("has no descriptor but standard input, output and error", { skip: !hasProc && "it needs /proc" }, async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      // Those that bext was started with are open to nothing.
      const seen = await folder.sh(launcher, "ls -l /proc/self/fd | grep -v /dev/null | grep -c -- '->'")
      assert.equal(seen, "4\n", "the fourth is ls reading the folder")
    })

    it("does not let a program at its first process", { skip: !hasProc && "it needs /proc" }, async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const script = "ls -A /proc/1 /proc/self/../1 /proc/self/task/../../1 | grep -v :; head -c 1 /proc/1/mem"
      const { stdout, stderr } = await folder.run(launcher, ["sh", "-c", script])
      assert.equal(stdout.trim(), "")
      assert.match(stderr, /\/proc\/1\/mem/)
    })

    it("has a limit on open files, on the size of a file and on core dumps", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      const limits = { openFiles: 40, fileBytes: 2 ** 20 }
      assert.equal(await folder.sh(launcher, "ulimit -n; ulimit -f; ulimit -c", { limits }), "40\n2048\n0\n")
      const script = "head -c 2000000 /dev/zero > /tmp/file; stat -c %s /tmp/file"
      assert.match((await folder.run(launcher, ["sh", "-c", script], { limits })).stdout, /^1048576$/m)
    })

    it("has a limit on processes of its own, whatever other jails have", async () => {
      using folder = new JailFolder()
      await using launcher = await openLauncher(without)
      // What counts all processes of a user has to leave room for other jails.
      const shared = without.includes("user namespaces") && without.includes("cgroups")
      const script = "i=0; while [ $i -lt 60 ]; do sleep 60 & i=$((i+1)); done; echo all"
      const runs = await Promise.all(
        [1, 2].map(() => folder.run(launcher, ["sh", "-c", script], { limits: { pids: 20 } })),
      )
      for (const { stdout, stderr } of runs) {
        if (shared) assert.equal(stdout, "all\n")
        else assert.match(stderr, /fork/i)
      }
      const { stdout } = await folder.run(launcher, ["sh", "-c", script], { limits: { pids: 80 } })
      assert.equal(stdout, "all\n")
    })
  })
}
