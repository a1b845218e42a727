/** Plans of operations as they lie on disk, spelled and hashed here from their description. */
import * as crypto from "node:crypto"

const sorted = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, inner]) => [name, sorted(inner)]))
}

/** The text of a plan.json with these members; any other is that of a plan that does nothing. */
export const planText = (members: { readonly [name: string]: unknown }): string => {
  const plan = {
    id: "op_1",
    kind: "recovery",
    at: "2026-01-01T00:00:00Z",
    operator: null,
    reason: "torn",
    correlation_id: null,
    from: null,
    root: null,
    to: null,
    checkpoint: null,
    cut: [],
    move: [],
    mirror_until: null,
    ...members
  }
  const text = JSON.stringify(sorted(plan))
  const hash = crypto.createHash("sha256").update(text).digest("hex")
  return `${JSON.stringify(sorted({ ...plan, hash }))}\n`
}
