import assert from "node:assert/strict"
import { describe, it } from "node:test"
import { findHierarchies } from "../../../../../src/sandbox/jail/launch/cgroups/find-hierarchies.ts"
import { createProject } from "../../../../support/serve.ts"

/** What is found where the files of a process say this. */
function find(mountinfo: readonly string[], cgroup: readonly string[]) {
  using project = createProject({ mountinfo: `${mountinfo.join("\n")}\n`, cgroup: `${cgroup.join("\n")}\n` })
  const found = findHierarchies(project.folder)
  return found && { version2: found.version2, version1: Object.fromEntries(found.version1) }
}

const V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate"
const ROOT = "23 1 254:1 / / rw - ext4 /dev/root rw"

describe("where a process stands in control groups, by texts of /proc", () => {
  it("is nowhere on a system without them", () => {
    assert.equal(findHierarchies("/nowhere"), null)
    assert.deepEqual(find([ROOT], ["0::/"]), { version2: null, version1: {} })
  })

  it("is one folder in version 2", () => {
    assert.deepEqual(find([ROOT, V2], ["0::/system.slice/bext.service"]), {
      version2: { top: "/sys/fs/cgroup", own: "/sys/fs/cgroup/system.slice/bext.service" },
      version1: {},
    })
  })

  it("is one folder for each controller in version 1, which may share a hierarchy, beside an empty version 2", () => {
    const mounts = [
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw",
      "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct",
      "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
      "36 31 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd",
      "37 31 0:34 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
    ]
    const memberships = ["5:memory:/app", "3:cpu,cpuacct:/", "2:pids:/", "1:name=systemd:/app", "0::/app"]
    const cpu = { top: "/sys/fs/cgroup/cpu,cpuacct", own: "/sys/fs/cgroup/cpu,cpuacct" }
    assert.deepEqual(find(mounts, memberships), {
      version2: { top: "/sys/fs/cgroup/unified", own: "/sys/fs/cgroup/unified/app" },
      version1: {
        memory: { top: "/sys/fs/cgroup/memory", own: "/sys/fs/cgroup/memory/app" },
        cpu,
        cpuacct: cpu,
        "name=systemd": { top: "/sys/fs/cgroup/systemd", own: "/sys/fs/cgroup/systemd/app" },
      },
    })
  })

  it("is below the mount in a container whose group is mounted as the root", () => {
    const mount = "40 30 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw"
    const top = "/sys/fs/cgroup"
    assert.deepEqual(find([mount], ["0::/docker/abc"])!.version2, { top, own: top })
    assert.deepEqual(find([mount], ["0::/docker/abc/bext"])!.version2, { top, own: "/sys/fs/cgroup/bext" })
  })

  it("is not in what is mounted of another group, and the mount that has the group is taken", () => {
    const other = "40 30 0:26 /docker/abc /mnt/other rw - cgroup2 cgroup rw"
    for (const path of ["/docker", "/docker/abcd", "/", "/../..", "/docker/abc/../x"]) {
      assert.equal(find([other], [`0::${path}`])!.version2, null, path)
    }
    assert.equal(find([other, V2], ["0::/docker/x"])!.version2!.own, "/sys/fs/cgroup/docker/x")
    // Another namespace's group, as seen from one inside.
    assert.equal(find([V2.replace(" / /sys", " /.. /sys")], ["0::/"])!.version2?.own, undefined)
  })

  it("has blanks in paths of mounts and colons in those of groups", () => {
    const mount = "40 30 0:26 / /mnt/my\\040groups\\134x rw - cgroup2 cgroup rw"
    assert.equal(find([mount], ["0::/a:b/c"])!.version2!.own, "/mnt/my groups\\x/a:b/c")
  })
})
