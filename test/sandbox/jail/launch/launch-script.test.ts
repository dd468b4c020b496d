import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { existsSync, openSync, readFileSync } from "node:fs"
import { describe, it } from "node:test"
import { firstProcessScript, launchScript } from "../../../../src/sandbox/jail/launch/launch-script.ts"
import { JailFolder } from "./jail-folder.ts"

/** What /bin/sh is on one system or another, as it is called there. */
const SHELLS = [["/bin/dash"], ["/bin/bash"], ["/bin/busybox", "sh"]] as const

for (const [shell, ...applet] of SHELLS) {
  const skip = process.platform !== "linux" ? "this is not Linux" : !existsSync(shell) && `there is no ${shell}`

  describe(`the scripts of the chain in ${shell}`, { skip }, () => {
    it("join control groups, close what let them, and set limits", () => {
      using folder = new JailFolder()
      const first = openSync(folder.write("first", ""), "w")
      const second = openSync(folder.write("second", ""), "w")
      const script = launchScript({
        cgroups: [5, 6],
        dataBytes: 2 ** 30,
        fileBytes: 2 ** 20,
        openFiles: 50,
        processes: 3000,
      })
      const args = ["-c", script, "sh", "/bin/sh", "-c", "cat /proc/self/limits; umask; ls /proc/self/fd"]
      const { stdout, stderr } = spawnSync(shell, [...applet, ...args], {
        argv0: applet.length > 0 ? shell : "sh",
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe", "ignore", "ignore", first, second],
      })
      assert.equal(stderr, "")
      for (const file of ["first", "second"]) assert.equal(readFileSync(`${folder.path}/${file}`, "utf8"), "0\n")
      assert.match(stdout, /^Max file size +1048576 +1048576 /m)
      assert.match(stdout, /^Max data size +1073741824 +1073741824 /m)
      assert.match(stdout, /^Max open files +50 +50 /m)
      assert.match(stdout, /^Max processes +3000 +3000 /m)
      assert.match(stdout, /^Max core file size +0 +0 /m)
      assert.match(stdout, /^0022\n0\n1\n2\n(?!5\n|6\n)/m)
    })

    it("leave limits as they are that there are none of", () => {
      const none = Number.POSITIVE_INFINITY
      const script = launchScript({ cgroups: [], dataBytes: none, fileBytes: none, openFiles: none, processes: none })
      const limits = readFileSync("/proc/self/limits", "utf8").replace(/^Max core.*\n/m, "")
      const { stdout } = spawnSync(shell, [...applet, "-c", script, "sh", "cat", "/proc/self/limits"], {
        encoding: "utf8",
      })
      // Node raises its own soft limit of open files, and gives its children what it began with.
      const withoutSoft = (text: string) => text.replace(/^(Max open files +)\S+/m, "$1").replace(/^Max core.*\n/m, "")
      assert.equal(withoutSoft(stdout), withoutSoft(limits))
    })

    it("end with the program's code, and do not start it without its limit", () => {
      const run = (processes: number, program: string) =>
        spawnSync(shell, [...applet, "-c", firstProcessScript(processes), "sh", "/bin/sh", "-c", program], {
          input: "\n",
        }).status
      assert.equal(run(Number.POSITIVE_INFINITY, "exit 7"), 7)
      assert.equal(run(3000, "exit 0"), 0)
      assert.equal(run(3000, "kill -9 $$"), 137)
      assert.notEqual(run(-1, "exit 0"), 0)
    })

    it("stay the program's parent", () => {
      const args = [...applet, "-c", firstProcessScript(3000), "sh", "/bin/sh", "-c", "cat /proc/$PPID/cmdline"]
      assert.match(spawnSync(shell, args, { encoding: "utf8", input: "\n" }).stdout, /exit \$\?/)
    })

    it("say that they are there, and start no program unless they are answered", () => {
      const program = ["/bin/sh", "-c", "read -r line; echo program $line"]
      const run = (input: string) => {
        const args = [...applet, "-c", firstProcessScript(3000), "sh", ...program]
        return spawnSync(shell, args, { encoding: "utf8", input })
      }
      assert.equal(run("\nits own\n").stdout, "\nprogram its own\n")
      const unanswered = run("")
      assert.equal(unanswered.stdout, "\n")
      assert.notEqual(unanswered.status, 0)
    })
  })
}
