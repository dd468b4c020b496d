/** What this process is among the processes of its server. It changes while plugins are loaded. */
export interface Role {
  /** True in exactly one process. */
  leader: boolean
}
