import type { Permissions } from "../config/manifest-schema.ts"
import type { HeaderAccess } from "./header-access.ts"

/** What one plugin may see and change of a request, worked out once at load. */
export interface GuestAccess {
  readonly plugin: string
  readonly headers: HeaderAccess
  readonly permissions: Pick<Permissions, "identity" | "rewrite_path" | "rewrite_method">
  readonly body: "none" | "request" | "response" | "both"
  /** Largest body shown to the guest, decoded bytes. */
  readonly maxBodyBytes: number
  /** Largest body the guest may write. */
  readonly maxAnswerBytes: number
}
