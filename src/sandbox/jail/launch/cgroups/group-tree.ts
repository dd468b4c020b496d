import type { Cgroup, CgroupLimits, Cgroups } from "./cgroups.ts"
import { type ControlGroup, createControlGroup } from "./control-group.ts"
import type { Layout } from "./layout.ts"
import { removeOwnerFolder } from "./owner-folder.ts"

/** The groups of one process, below folders that are there already, one in each hierarchy. */
export class GroupTree implements Cgroups {
  readonly version: "v1" | "v2"
  readonly reason = null
  readonly #owners: readonly string[]
  readonly #layoutOf: (name: string) => Layout
  readonly #groups = new Set<ControlGroup>()
  #created = 0

  constructor(version: "v1" | "v2", owners: readonly string[], layoutOf: (name: string) => Layout) {
    this.version = version
    this.#owners = owners
    this.#layoutOf = layoutOf
  }

  create(name: string, limits: CgroupLimits): Cgroup {
    // No dots: the files of a group have one, and a folder cannot be called as they are.
    if (!/^[\w-]{1,100}$/.test(name)) throw new TypeError(`"${name}" is no name for a control group`)
    const group = createControlGroup(this.#layoutOf(`${name}-${++this.#created}`), limits, () =>
      this.#groups.delete(group),
    )
    this.#groups.add(group)
    return group
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#groups].map((group) => group.remove()))
    for (const owner of this.#owners) await removeOwnerFolder(owner)
  }
}
