import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, it } from "node:test"
import { COMMANDS } from "../../src/cli/commands.ts"
import { runBext, temporaryFolder } from "./run-bext.ts"

// biome-ignore lint/suspicious/noControlCharactersInRegex: looking for colours
const COLOUR = /\u001b\[/

describe("bext", { concurrency: 2 }, () => {
  it("without a command shows its help and says so by the exit code", async () => {
    const { code, out, err } = await runBext([])
    assert.equal(code, 2)
    assert.equal(out, "")
    for (const name of Object.keys(COMMANDS)) assert.match(err, new RegExp(`^  ${name} `, "m"))
  })

  it("shows its version", async () => {
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../package.json"), "utf8")) as {
      version: string
    }
    assert.deepEqual(await runBext(["--version"]), { code: 0, out: `bext ${version}\n`, err: "" })
  })

  for (const name of Object.keys(COMMANDS)) {
    it(`describes ${name} and every option of it`, async () => {
      const { code, out, err } = await runBext([...name.split(" "), "--help"])
      assert.equal(code, 0)
      assert.equal(err, "")
      for (const option of Object.keys(COMMANDS[name]!.options))
        assert.match(out, new RegExp(`^  (-\\w, )?--${option}[ =]`, "m"))
      assert.match(out, /^Examples$/m)
      assert.ok(
        out.split("\n").every((line) => line.length <= 120),
        "a line is too long for a terminal",
      )
    })
  }

  it("shows the same help in both orders", async () => {
    assert.deepEqual(await runBext(["help", "check"]), await runBext(["check", "-h"]))
  })

  const mistakes: [args: string[], expected: RegExp][] = [
    [["sevre"], /there is no command "sevre"\n {2}did you mean bext serve\?\n {2}see bext --help/],
    [["frobnicate"], /the commands are: serve, .*init, .*doctor/],
    [["help", "chekc"], /did you mean bext check\?/],
    [["--static", "public"], /the command is missing before --static\n {2}did you mean bext serve --static …\?/],
    [
      ["serve", "--statc", "public"],
      /bext serve has no option --statc\n {2}did you mean --static\?\n {2}see bext serve --help/,
    ],
    [["serve", "-c", "x.toml"], /bext serve has no option -c/],
    [["serve", "public"], /bext serve takes only options, not "public"\n {2}did you mean --static public\?/],
    [["serve", "http://127.0.0.1:4000"], /did you mean --upstream http:\/\/127\.0\.0\.1:4000\?/],
    [["serve", "site.toml"], /did you mean --config site\.toml\?/],
    [["serve", "--config"], /--config needs a value\n {2}write --config FILE/],
    [["serve", "--config", "--print-stack"], /--config needs a value/],
    [["serve", "--config="], /--config needs a value/],
    [["serve", "--print-stack=yes"], /--print-stack takes no value/],
    [["check", "bext.config.toml"], /did you mean --config bext\.config\.toml\?/],
    [["explain", "E_LIMIT_CPU", "E_LIMIT_TIME"], /takes one word, not "E_LIMIT_TIME"/],
    [["explain", "E_LIMT_CPU"], /did you mean E_LIMIT_CPU\?/],
    [["explain", "nonsense"], /bext explain lists all codes/],
    [["doctor", "--fix"], /bext doctor has no option --fix/],
    [["constructor"], /there is no command "constructor"/],
    [["install", "geo"], /there is no command "install"\n {2}did you mean bext plugin install\?/],
    [["explain", "lane"], /there is no error code "lane"\n {2}did you mean E_LANE_FULL\?/],
    [["serve", "--__proto__", "x"], /has no option --__proto__/],
  ]
  for (const [args, expected] of mistakes) {
    it(`says what is wrong with: bext ${args.join(" ")}`, async () => {
      const { code, out, err } = await runBext(args)
      assert.equal(code, 2)
      assert.equal(out, "")
      assert.match(err, expected)
      assert.match(err, /^error E_USAGE: /)
      assert.doesNotMatch(err, /^\s+at /m)
    })
  }

  it("uses no colours when it does not write to a terminal", async () => {
    const { err } = await runBext(["sevre"])
    assert.doesNotMatch(err, COLOUR)
  })

  it("uses colours on a terminal, unless NO_COLOR is set", { skip: process.platform !== "linux" }, () => {
    const command = `"${process.execPath}" "${join(import.meta.dirname, "../../src/cli/bext.ts")}" sevre`
    const onTerminal = (env: Record<string, string>) =>
      execFileSync("script", ["-qec", `${command} || true`, "/dev/null"], {
        encoding: "utf8",
        env: { PATH: process.env.PATH, TERM: "xterm-256color", ...env },
        stdio: ["ignore", "pipe", "pipe"],
      })
    assert.match(onTerminal({}), COLOUR)
    assert.doesNotMatch(onTerminal({ NO_COLOR: "1" }), COLOUR)
  })
})

describe("bext explain", () => {
  it("tells what happened, who can mend it and what to do", async () => {
    const { code, out } = await runBext(["explain", "limit-cpu"])
    assert.equal(code, 0)
    assert.match(out, /^E_LIMIT_CPU\n/)
    assert.match(out, /Status seen by clients: 504\nWho can mend it: the plugin/)
    assert.match(out, /^ {2}1\. /m)
    assert.match(out, /Related: E_LIMIT_TIME/)
  })

  it("lists all codes", async () => {
    const { code, out } = await runBext(["explain"])
    assert.equal(code, 0)
    assert.match(out, /^E_REQUEST_INVALID +/m)
  })
})

describe("bext doctor", () => {
  it("tries out what this machine offers", async () => {
    const { code, out, err } = await runBext(["doctor"])
    assert.equal(err, "")
    assert.equal(code, 0)
    assert.match(out, /^ok +Node\.js +v\d+/m)
    assert.match(out, /^ok +sandboxes +quickjs/m)
    assert.match(out, /^ok +database/m)
    assert.match(out, /bext can run here\.\n$/)
  })

  it("says when the database cannot be used", async (t) => {
    const folder = temporaryFolder(t)
    const { code, out } = await runBext(["doctor"], { env: { TMPDIR: join(folder, "nowhere") } })
    assert.equal(code, 1)
    assert.match(out, /^FAIL +database/m)
    assert.match(out, /bext cannot run here yet\./)
  })
})
