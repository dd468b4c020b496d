import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { findBubblewrap } from "../../../../src/sandbox/jail/launch/bubblewrap.ts"
import { JailFolder } from "./jail-folder.ts"
import { NO_BUBBLEWRAP } from "./launchers.ts"

describe("bubblewrap", () => {
  it("is found where packages put it", { skip: NO_BUBBLEWRAP }, async () => {
    assert.match(JSON.stringify(await findBubblewrap()), /"path":"\/usr\/(local\/)?bin\/bwrap"/)
  })

  it("is named as what to install when there is none", async () => {
    assert.match(JSON.stringify(await findBubblewrap(["/none/bwrap"])), /install the package bubblewrap/)
  })

  it("is not used when it is too old to bound what a program writes, which is said", async () => {
    using folder = new JailFolder()
    const old = "--perms OCTAL\n--clearenv \n--json-status-fd FD"
    const path = folder.write("bwrap", `#!/bin/sh\necho '${old}' >&2`)
    assert.deepEqual(await findBubblewrap([path]), {
      missing: `${path} is too old, it has no --size: install bubblewrap 0.8 or newer`,
    })
  })

  it("is used without what only newer ones have", async () => {
    using folder = new JailFolder()
    const path = folder.write("bwrap", "#!/bin/sh\necho '--perms O --clearenv  --json-status-fd FD --size B'")
    assert.deepEqual(await findBubblewrap([path]), { path, disablesUserNamespaces: false })
  })

  it("is not one that does not even tell what it can", async () => {
    using folder = new JailFolder()
    const path = folder.write("bwrap", "#!/bin/sh\nexit 1")
    assert.match(JSON.stringify(await findBubblewrap([path])), /too old/)
  })
})
